//! Declared checks on a dataset: what must hold for its rows, and which rows break it.

mod foreign_key;
mod report;
mod rows;
mod run;
mod settings;
mod sql;
mod unique;

pub use report::{CheckOutcome, CheckReport};
pub(crate) use rows::numbered;
pub use run::{CheckSettings, CheckSubject, check, check_tables};
pub(crate) use run::{column, joined};
pub use settings::{
    Between, Check, CheckRule, CheckValue, Columns, ForeignKey, Freshness, Matches, OneOf, RowCount, Severity,
};
