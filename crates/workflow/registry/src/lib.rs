//! The model registry: registered models, their numbered versions, the aliases that point at them, the stages that
//! they are in, and the gates that a version must pass before it moves.
//!
//! The rules are MLflow's (3.17), so that its clients can be served by a translation alone; prompts are registered
//! models with a tag. Where a version came from never changes; an alias or a stage moves in one transaction that
//! compares with the incumbent of that moment and keeps a record of every attempt. Nothing else may write these tables.
//!
//! A version that a stage registered is known by its bytes, one that a client registered by where it lies. This crate
//! never loads a model and opens no socket: webhooks are sent by the product's [`WebhookSender`].

mod alias;
mod declared;
mod error;
mod evidence;
mod gate;
mod interface;
mod limits;
mod model;
mod promotion;
mod registered;
mod registry;
mod rows;
mod search;
mod source;
mod stage;
mod takeover;
mod target;
#[cfg(test)]
mod testing;
mod version;
mod webhook;

pub use alias::{alias_get, by_alias, resolve};
pub use declared::{
    Approval, DeclaredGate, approval_list, approve, gate_declare, gate_list, role_list, role_member_set,
};
pub use error::{ErrorKind, RegistryError};
pub use evidence::{Evidence, Facts, TrackedModels, TrackedRuns};
pub use gate::{Approver, ApproverError, Better, Condition, Gate, GateDeclaration, GateError, GateOutcome, Metrics};
pub use interface::{Interface, MlModel, MlModelError};
pub use limits::TAG_VALUE_CHARACTERS;
pub use model::{ModelContent, ModelVersion, NewVersion, PROMPT_TAG, RegisteredModel, SourcedVersion, Tags};
pub use promotion::{Attempt, Change, Interfaces, Promotion, PromotionRequest, alias_delete, history, promote};
pub use registered::{
    model_create, model_delete, model_get, model_list, model_rename, model_tag_delete, model_tag_set, model_update,
};
pub use registry::Registry;
use ropewalk_catalog::{Migration, MigrationSet};
pub use search::{
    MODEL_PAGE, MODEL_VERSIONS, Page, REGISTERED_MODELS, Search, VERSION_PAGE, model_search, version_search,
};
pub use stage::{Stage, UnknownStage};
pub use takeover::{TakenModel, TakenModelCount, TakenVersion};
pub use target::{Target, TargetError};
pub use version::{
    version_create, version_delete, version_get, version_latest, version_list, version_register, version_tag_delete,
    version_tag_set, version_update,
};
pub use webhook::{
    Event, Message, Sent, UnknownEvent, WEBHOOK_PAGE, Webhook, WebhookChange, WebhookError, WebhookSender, is_loopback,
    is_public,
};

/// The tables of the registry; those of `ropewalk_lineage` and `ropewalk_tracking` must stand beside them.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    owner: "registry",
    steps: &[
        Migration { number: 1, name: "registry", sql: include_str!("../migrations/001_registry.sql") },
        Migration { number: 2, name: "mlflow", sql: include_str!("../migrations/002_mlflow.sql") },
    ],
};
