use std::path::PathBuf;

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use ropewalk_catalog::CatalogError;
use ropewalk_store::{FileError, StoreError};
use ropewalk_types::{Diagnose, Digest, PredictionId};

/// What can go wrong with the log of predictions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictionsError {
    /// No such prediction is logged.
    #[error("prediction {0} is not in the log")]
    UnknownPrediction(PredictionId),
    /// A record cannot be read back.
    #[error("prediction {prediction} cannot be read: {problem}")]
    DamagedRecord {
        /// Its id.
        prediction: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A segment is no table of predictions.
    #[error("the segment {segment} of the prediction log cannot be read: {problem}")]
    DamagedSegment {
        /// Its digest.
        segment: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A journal was written by another version of this program.
    #[error("`{}` is a journal of predictions of another version", .0.display())]
    OtherVersion(PathBuf),
    /// A setting is out of its range.
    #[error("the prediction log cannot be opened: {0}")]
    Setting(String),
    /// A table could not be made.
    #[error("a segment of the prediction log cannot be made: {0}")]
    Parquet(String),
    /// Work off the reactor broke.
    #[error("work on the prediction log broke: {0}")]
    Broken(String),
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalogue.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl PredictionsError {
    pub(crate) fn of_segment(digest: &Digest, problem: &dyn std::fmt::Display) -> Self {
        Self::DamagedSegment { segment: digest.short(), problem: problem.to_string() }
    }

    /// Whether it is no matter of one journal or segment: the catalogue or the store cannot be asked.
    pub(crate) fn concerns_all(&self) -> bool {
        match self {
            Self::Catalog(_) => true,
            Self::Store(problem) => !problem.is_of_content(),
            _ => false,
        }
    }
}

impl From<ParquetError> for PredictionsError {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error.to_string())
    }
}

impl From<ArrowError> for PredictionsError {
    fn from(error: ArrowError) -> Self {
        Self::Parquet(error.to_string())
    }
}

impl From<tokio::task::JoinError> for PredictionsError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Diagnose for PredictionsError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownPrediction(_) => "predictions.unknown",
            Self::DamagedRecord { .. } => "predictions.damaged_record",
            Self::DamagedSegment { .. } => "predictions.damaged_segment",
            Self::OtherVersion(_) => "predictions.other_version",
            Self::Setting(_) => "predictions.setting",
            Self::Parquet(_) => "predictions.parquet",
            Self::Broken(_) => "predictions.broken",
            Self::File(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Catalog(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::File(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Catalog(error) => return error.hint(),
            Self::Parquet(_) | Self::Broken(_) => return None,
            Self::UnknownPrediction(_) => {
                "a prediction is in the log a few milliseconds after its answer; answers that were not sampled, lost under \
                 overload or older than the log is kept are not in it"
            }
            Self::DamagedRecord { .. } => "it was changed by another program: restore the catalogue and the store",
            Self::DamagedSegment { .. } => "see what else is damaged with `ropewalk data verify`",
            Self::OtherVersion(_) => {
                "start a server of the version that wrote it once: it ends its journals when it stops"
            }
            Self::Setting(_) => "correct `[serve.log]` in ropewalk.toml",
        };
        Some(text.to_owned())
    }
}
