//! The writes of this box for a caller that has a transaction open, so that what belongs together is committed
//! together: a run's end and its lineage, for example.
//!
//! After an error the caller must roll back what was done since the call.

pub use crate::artifact::{artifact_put, artifact_record, artifact_remove};
pub use crate::batch::{batch_log, tag_delete};
pub use crate::experiment::{experiment_create, experiment_ensure};
pub use crate::input::{inputs_log, outputs_log};
pub use crate::logged_model::{logged_model_put, logged_model_version_record};
pub use crate::run::model_history::model_record;
pub use crate::run::write::{run_create, run_finish, run_update};
