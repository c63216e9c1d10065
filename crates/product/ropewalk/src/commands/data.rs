//! `ropewalk data …`: one file for each command.

mod add;
mod audit;
mod cat;
mod check;
pub(super) mod checkout;
mod commit;
mod describe;
mod diff;
mod du;
mod gc;
mod import;
mod lineage;
mod log;
mod merge;
mod origin;
mod restore;
mod retention;
mod rm;
mod show;
mod status;
mod table_diff;
mod tag;
mod take_over;
mod verify;

use crate::arguments::{Data, Shared};
use crate::commands::listings;
use crate::failure::Ending;

/// Carries out a command about datasets.
pub(super) async fn dispatch(shared: &Shared, command: Data) -> Ending {
    match command {
        Data::Ls => listings::datasets(shared).await,
        Data::Show { dataset } => show::run(shared, &dataset).await,
        Data::Add(arguments) => add::run(shared, arguments).await,
        Data::Status { names } => status::run(shared, &names).await,
        Data::Commit { names, message, author } => commit::run(shared, &names, &message, author).await,
        Data::Log { name } => log::run(shared, &name).await,
        Data::Diff(arguments) => diff::run(shared, arguments).await,
        Data::Checkout(arguments) => checkout::run(shared, arguments).await,
        Data::Restore { name, files, force } => restore::run(shared, name, files, force).await,
        Data::Tag(arguments) => tag::run(shared, arguments).await,
        Data::Rm(arguments) => rm::run(shared, arguments).await,
        Data::Merge(arguments) => merge::run(shared, arguments).await,
        Data::Cat { file } => cat::run(shared, &file).await,
        Data::Import { name, full } => import::run(shared, &name, full).await,
        Data::Describe { dataset, file } => describe::run(shared, dataset.as_ref(), file.as_deref()).await,
        Data::Check { dataset } => check::run(shared, &dataset).await,
        Data::Lineage { dataset, up, down } => {
            let way = match (up, down) {
                (true, _) => lineage::Way::Up,
                (_, true) => lineage::Way::Down,
                _ => lineage::Way::Both,
            };
            lineage::run(shared, &dataset, way).await
        }
        Data::Audit(arguments) => audit::run(shared, arguments).await,
        Data::Retention { remove, reason } => retention::run(shared, reason.as_deref().filter(|_| remove)).await,
        Data::ImportDvc { folder, links, dry_run } => take_over::dvc(shared, &folder, links, dry_run).await,
        Data::ImportLfs { folder, links, dry_run } => take_over::lfs(shared, folder.as_deref(), links, dry_run).await,
        Data::Gc(arguments) => gc::run(shared, arguments).await,
        Data::Verify(arguments) => verify::run(shared, &arguments).await,
        Data::Du { names } => du::run(shared, &names).await,
    }
}
