use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use ropewalk_types::Signature;
use serde::{Deserialize, Serialize};

use crate::CalibrationBin;

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The trees are fitted to it.
    Train,
    /// It decides how many trees are kept.
    Validation,
    /// Nothing is learned from it: the figures are measured on it.
    Test,
}

impl Part {
    /// The word in the split column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Train, Self::Validation, Self::Test].into_iter().find(|part| part.as_str() == word)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One input of the model: a column of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Name of the column and of the model's input.
    pub name: String,
    /// How it is read.
    #[serde(flatten)]
    pub kind: FeatureKind,
}

/// How a feature is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum FeatureKind {
    /// As a 32-bit number; null and NaN are missing.
    Numeric,
    /// As one of the categories met in the training part; null, the empty string and any other string are missing.
    Categorical {
        /// In the order of their codes 0, 1, …: by rising share of the target, ties by bytes.
        categories: Vec<String>,
    },
}

/// The losses after one tree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IterationMetrics {
    /// Trees grown so far.
    pub iteration: u32,
    /// Log loss on the training part, in nats.
    pub train_log_loss: f64,
    /// Log loss on the validation part, in nats, if there is one.
    pub validation_log_loss: Option<f64>,
}

/// How much a feature does for the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The feature.
    pub feature: String,
    /// Its share of the loss reduction of all splits, 0 to 1; the shares sum to 1 if any split is made.
    pub gain: f64,
    /// Splits on it.
    pub splits: u32,
}

/// The comparison of the exported model with the trainer's own predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportCheck {
    /// Rows compared: the whole test part, or the training part where there is no split.
    pub rows: u64,
    /// Largest absolute difference of two probabilities.
    pub max_abs_difference: f64,
    /// The engine that evaluated the exported model.
    pub engine: String,
}

/// A model and all that is to be kept about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The model as an ONNX file. Inputs: one for each feature, named as its column, `[-1, 1]`, BYTES for categories
    /// and FP32 for numbers. Outputs: `label` INT64 `[-1]` (1 where the probability is above one half) and
    /// `probability` FP32 `[-1, 2]` (of class 0 and of class 1).
    pub onnx: Vec<u8>,
    /// Inputs and outputs, as the engine reads them from the model.
    pub signature: Signature,
    /// The features in the order of the model's inputs.
    pub features: Vec<Feature>,
    /// The settings that the model depends on, as text.
    pub params: BTreeMap<String, String>,
    /// The figures. Of the test part under their bare names: `auc`, `log_loss`, `accuracy`, `brier_score`,
    /// `calibration_error`; of the validation part with the prefix `validation_`; where there is no split, of the
    /// training part with the prefix `train_`. Besides `train_rows`, `validation_rows`, `test_rows` and `trees_kept`.
    pub metrics: BTreeMap<String, f64>,
    /// The losses tree by tree, also of the trees that early stopping dropped.
    pub history: Vec<IterationMetrics>,
    /// By falling gain.
    pub importances: Vec<Importance>,
    /// Predicted against observed on the test part (without a split, on the training part).
    pub calibration: Vec<CalibrationBin>,
    /// The proof that `onnx` is the model that was trained.
    pub check: ExportCheck,
}

/// Hears of each tree as it is grown.
pub trait Progress: Sync {
    /// A tree was grown; `Break` stops the training, which then ends with
    /// [`TrainingError::Stopped`](crate::TrainingError::Stopped).
    fn iteration(&self, metrics: &IterationMetrics) -> ControlFlow<()>;
}

/// Listens to nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn iteration(&self, _: &IterationMetrics) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
