//! What people say about datasets and what the program writes down about people: facts, retention, the audit trail.

mod audit;
mod declaration;
mod inheritance;
mod retention;

pub use audit::{
    AuditAction, AuditEntry, AuditEvent, AuditFault, AuditFilter, AuditHead, AuditReport, audit_append, audit_list,
    audit_verify, audit_write,
};
pub use declaration::{
    Classification, DatasetFacts, Declaration, Retention, declaration_adopt, declaration_get, declaration_history,
    declaration_record,
};
pub use inheritance::{EffectiveFacts, Inherited, NO_REASON, Reason, classification_effective, facts_effective};
pub use retention::{RetentionDue, retention_due};
