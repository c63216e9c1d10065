//! Box "data", second half: dataset versions and SQL over them.
//!
//! [`transform`] makes a dataset version from others by SQL, [`query`] asks, [`read_table`] reads, and the catalogue's
//! table of versions is kept by [`version_record`] and its fellows. What a version looks like in the store, and how
//! foreign data becomes one, is `ropewalk_ingest`'s. The same SQL gives the same version on every machine.
//!
//! This is the only crate that knows DataFusion. It never drops a row in silence, never changes a version, and lets
//! no SQL write.

// The functions that do long work are plain ones that return boxed futures. An `async fn` is compiled by whoever awaits
// it: every caller would compile DataFusion's machinery again, for minutes.

mod check;
mod dataset;
mod describe;
mod diff;
mod error;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod governance;
mod query;
mod reading;
mod similar;
mod sql;
mod table;
mod transform;

pub use check::{
    Between, Check, CheckOutcome, CheckReport, CheckRule, CheckSettings, CheckSubject, CheckValue, Columns, ForeignKey,
    Freshness, Matches, OneOf, RowCount, Severity, check, check_tables,
};
pub use dataset::arrival::{
    Adoption, Renumbered, arrival_fetched, arrival_made, arrival_moved, version_elsewhere, versions_adopt,
};
pub use dataset::history::{RecordedVersion, version_history};
pub use dataset::latest::version_again;
pub use dataset::record::{Made, MadeBy, TableRecord};
pub use dataset::removal::{Removal, removal_adopt, removal_list, version_remove};
pub use dataset::resolve::{version_resolve, version_resolve_recorded};
pub use dataset::state::{Declared, Latest, MergedState, Removed, TableState, TagConflict, Tagged, table_states};
pub use dataset::tag::{
    TagAdopted, TagMove, Untag, VersionTag, tag_adopt, tag_list, tag_remove, tag_set, untag_record,
};
pub use dataset::{DatasetVersion, MIGRATIONS, version_list, version_record};
pub use describe::{
    ColumnDescription, Description, Distinct, Frequent, Histogram, Quantiles, describe, describe_query,
};
pub use diff::{ChangedCell, ChangedRow, DiffSettings, RetypedColumn, TableDiff, table_diff};
pub use error::{DataError, Place};
pub use governance::{
    AuditAction, AuditEntry, AuditEvent, AuditFault, AuditFilter, AuditHead, AuditReport, Classification, DatasetFacts,
    Declaration, EffectiveFacts, Inherited, NO_REASON, Reason, Retention, RetentionDue, audit_append, audit_list,
    audit_verify, audit_write, classification_effective, declaration_adopt, declaration_get, declaration_history,
    declaration_record, facts_effective, retention_due,
};
pub use query::{
    Answer, AnswerFormat, FileAccess, NamedTable, QueryLimits, QueryResult, QueryStream, QueryTables, TableSource,
    query, query_stream, write_answer,
};
pub use sql::{Spilled, TableFormat, TableMention, referenced_tables};
pub use table::read_table;
pub use transform::{TransformSettings, Transformed, transform};

#[cfg(test)]
mod tests;
