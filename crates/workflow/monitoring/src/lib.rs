//! Model monitoring: fixed-size profiles of tables, drift between two of them, quality against labels that came
//! later, and the report that a person reads.
//!
//! [`Profile`] is what is kept instead of rows: it has a bounded size and merges across replicas and windows.
//! [`compare`] finds drift between a reference and a live profile. [`evaluate`] measures the model where the truth is
//! known by now. [`MonitoringReport`] holds both; it is JSON (the stable form), a terminal table
//! ([`MonitoringReport::terminal`]) and one self-contained HTML page ([`MonitoringReport::html`]).
//!
//! Invariants: this crate opens no file and no socket, reads no clock and prints nothing; it takes Arrow record
//! batches, profiles and times, and returns values. The same rows in the same order give the same profile to the last
//! bit, however they were cut into batches. A test that could not be run is listed with its reason, never left out.

mod drift;
mod error;
mod profile;
mod quality;
mod report;

pub use drift::{
    ColumnDrift, ColumnSettings, DriftReport, DriftSettings, Figures, Shares, Test, compare, jensen_shannon,
    population_stability, two_proportion_z, wasserstein,
};
pub use error::MonitoringError;
pub use profile::{
    CategoricalSummary, Column, ColumnKind, Curve, Distribution, MAXIMUM_COLUMNS, NumericSummary, Point, Profile,
    VALUES_LIMIT,
};
pub use quality::{
    Auc, Measures, Observation, PeriodKind, PeriodQuality, Quality, QualitySettings, QualityStatus, TrainingMetrics,
    area_under_curve, evaluate,
};
pub use report::{LiveWindow, MonitoringReport, ReferenceTable, ReportFormat};
