use super::report::CheckOutcome;
use super::run::{Desk, joined, outcome};
use super::settings::Check;
use crate::DataError;
use crate::query::{Planned, QueryTables, Refuse, TableSource, planned};

/// Runs the SELECT: every row of its answer offends.
pub(super) async fn check(check: &Check, sql: &str, desk: &Desk<'_>) -> Result<CheckOutcome, DataError> {
    let mut tables = QueryTables::default();
    for (name, tree) in &desk.subject.others {
        tables.insert(name.clone(), TableSource::Version(*tree));
    }
    tables.insert(desk.subject.name.to_string(), TableSource::Version(desk.subject.tree));
    let plan = planned(sql, &tables, desk.store, desk.room, Refuse::Changing).await;
    let Planned { plan, .. } = plan.map_err(|error| match error {
        refused @ (DataError::Refused { .. } | DataError::Volatile { .. }) => desk.wrong(check, refused.to_string()),
        other => desk.mine(check, other),
    })?;
    let mut running = desk.run(check, &plan).await?;
    let (mut kept, mut offending) = (Vec::new(), 0_usize);
    while let Some(batch) = running.next().await? {
        let room = desk.settings.sample_rows.saturating_sub(offending);
        if room > 0 {
            kept.push(batch.slice(0, batch.num_rows().min(room)));
        }
        offending += batch.num_rows();
    }
    let sample = joined(running.schema(), &kept)?;
    Ok(outcome(check, offending as u64, sample))
}
