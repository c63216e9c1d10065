mod diagnosis;
mod parts_table;
mod plan;
mod session;

pub(crate) use diagnosis::Translation;
pub(crate) use parts_table::PartsTable;
pub(crate) use plan::{refuse_volatile, select_plan};
pub(crate) use session::{Order, reading_session, session};
