//! Built-in trainers: a typed table in, a checked ONNX model with its figures out.
//!
//! [`train`] is a pure function of its [`TrainSettings`] and the table's rows in their order: the same input gives
//! the same bytes, whatever the number of threads. The model takes the table's raw columns (strings and numbers), so
//! the encoding cannot be done differently when it is served. Before a model is handed out, the engine that will
//! serve it must have given the trainer's own predictions ([`ExportCheck`]).
//!
//! This crate reads no file, opens no store and knows no catalogue: the caller brings the rows and keeps the result.
//! It never repairs data in silence: what it cannot learn from is an error that names column and row.

mod boosting;
mod check;
mod encoding;
mod error;
mod export;
mod metrics;
mod outcome;
mod settings;
mod table;
mod train;

pub use error::TrainingError;
pub use metrics::{
    CALIBRATION_BINS, CalibrationBin, accuracy, auc, brier_score, calibration, calibration_error, log_loss,
};
pub use outcome::{
    ExportCheck, Feature, FeatureKind, Importance, IterationMetrics, NoProgress, Part, Progress, Trained,
};
pub use settings::{Algorithm, GradientBoostingParams, TrainSettings};
pub use train::train;
