//! The model registry: registered models, their numbered versions, the aliases that point at them, and the gates
//! that an alias must pass before it moves.
//!
//! A version is a fact and never changes; an alias is the only thing that moves, in one transaction that compares
//! with the incumbent of that moment and keeps a record of every attempt. Nothing else may write these tables.
//! This crate holds no metrics and knows no tracking: who promotes brings a [`MetricSource`]. It never loads a model.

mod error;
mod gate;
mod model;
mod promotion;
mod registry;
mod takeover;
mod version;

pub use error::RegistryError;
pub use gate::{Condition, Gate, GateError, GateOutcome, Metrics};
pub use model::{ModelVersion, NewVersion, RegisteredModel};
pub use promotion::{AliasChange, MetricSource, Promotion, PromotionRequest, alias_history, promote};
pub use registry::Registry;
use ropewalk_catalog::{Migration, MigrationSet};
pub use takeover::{TakenModel, TakenModelCount, TakenVersion};
pub use version::{alias_get, model_list, resolve, version_get, version_list, version_register};

/// The tables of the registry; those of `ropewalk_lineage` must stand beside them.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    owner: "registry",
    steps: &[Migration { number: 1, name: "registry", sql: include_str!("../migrations/001_registry.sql") }],
};
