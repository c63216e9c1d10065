//! The one room of the boosting library: settings go in, an [`Ensemble`] of our own comes out.

use std::num::NonZeroUsize;

use hessboost::config::{TrainingParams, TreeMethod};
use hessboost::data::DMatrix;
use hessboost::error::HessboostError;
use hessboost::metric::EvalMetric;
use hessboost::model::{BoostedModel, Iterations};
use hessboost::objective::{Objective, RegLoss};
use hessboost::training::{RoundEval, Trainer};
use hessboost::tree::RegTree;

use crate::{GradientBoostingParams, IterationMetrics, Progress, TrainingError};

/// Trees whose leaf weights add up to the log odds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ensemble {
    /// Log odds before the first tree.
    pub(crate) base: f32,
    /// Only those that are kept.
    pub(crate) trees: Vec<Tree>,
}

/// The nodes of one tree; the first is the root.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
}

/// A node of a tree; children are places in the tree's nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Node {
    /// A row goes left if its value is below the threshold, and where `missing_left` says if it has none.
    Split { feature: u32, threshold: f32, missing_left: bool, left: u32, right: u32, gain: f32 },
    /// The row has arrived.
    Leaf { weight: f32 },
}

/// Rows of encoded features, row after row, with their labels.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) values: Vec<f32>,
    pub(crate) labels: Vec<bool>,
    pub(crate) features: usize,
}

impl Rows {
    fn into_matrix(self) -> Result<DMatrix, HessboostError> {
        let labels: Vec<f32> = self.labels.iter().map(|label| f32::from(u8::from(*label))).collect();
        DMatrix::from_dense_vec(self.values, labels.len(), self.features)?.with_labels(&labels)
    }
}

/// A trained model, in the library's form and in ours.
#[derive(Debug)]
pub(crate) struct Fitted {
    model: BoostedModel,
    pub(crate) ensemble: Ensemble,
    pub(crate) history: Vec<IterationMetrics>,
}

impl Fitted {
    /// The library's own probabilities for `rows`.
    pub(crate) fn predict(&self, rows: Rows) -> Result<Vec<f32>, TrainingError> {
        Ok(self.model.predict(&rows.into_matrix()?, Iterations::Best)?.into_vec())
    }
}

/// Grows trees on `train`, watching `validation` if there is one.
pub(crate) fn fit(
    params: &GradientBoostingParams,
    train: Rows,
    validation: Option<Rows>,
    progress: &dyn Progress,
) -> Result<Fitted, TrainingError> {
    let library_params = library_params(params)?;
    let train = train.into_matrix()?;
    let validation = validation.map(Rows::into_matrix).transpose()?;
    let mut history = Vec::new();
    let mut stopped = false;
    let mut trainer = Trainer::new(&library_params, &train, params.trees as usize).eval(&train, "train");
    if let Some(validation) = &validation {
        trainer = trainer.eval(validation, "validation");
        if let Some(rounds) = NonZeroUsize::new(params.early_stopping_rounds as usize) {
            trainer = trainer.early_stopping_rounds(rounds);
        }
    }
    let trainer = trainer.on_round(|round| {
        let metrics = iteration_metrics(&round);
        history.push(metrics);
        let verdict = progress.iteration(&metrics);
        stopped = verdict.is_break();
        verdict
    });
    let model = trainer.train()?.model;
    if stopped {
        return Err(TrainingError::Stopped { iterations: history.len() as u32 });
    }
    Ok(Fitted { ensemble: Ensemble::of(&model), model, history })
}

fn library_params(params: &GradientBoostingParams) -> Result<TrainingParams, HessboostError> {
    let builder = TrainingParams::builder()
        .objective(Objective::BinaryLogistic(RegLoss::default()))
        .eval_metric(EvalMetric::LogLoss)
        .tree_method(TreeMethod::Hist)
        .eta(params.learning_rate)
        .max_depth(params.depth as usize)
        .min_child_weight(params.min_child_weight)
        .gamma(params.min_gain)
        .subsample(params.subsample)
        .colsample_bytree(params.feature_sample)
        .lambda(params.l2)
        .max_bin(params.bins as usize)
        .seed(params.seed);
    if params.threads == 0 { builder.build() } else { builder.nthread(params.threads as usize).build() }
}

/// The losses of the watched parts, in the order in which they were named.
fn iteration_metrics(round: &RoundEval<'_>) -> IterationMetrics {
    let mut values = round.values().iter().copied();
    IterationMetrics {
        iteration: round.iteration() as u32 + 1,
        train_log_loss: values.next().unwrap_or(f64::NAN),
        validation_log_loss: values.next(),
    }
}

impl Ensemble {
    fn of(model: &BoostedModel) -> Self {
        let kept = model.best_iteration().map_or(model.num_boost_rounds(), |best| best + 1);
        Self { base: model.base_score(), trees: model.trees().iter().take(kept).map(Tree::of).collect() }
    }

    /// Total gain and number of the splits on each of `features` features.
    pub(crate) fn gains(&self, features: usize) -> Vec<(f64, u32)> {
        let mut totals = vec![(0.0, 0); features];
        for node in self.trees.iter().flat_map(|tree| &tree.nodes) {
            if let Node::Split { feature, gain, .. } = node
                && let Some((total, splits)) = totals.get_mut(*feature as usize)
            {
                *total += f64::from(*gain);
                *splits += 1;
            }
        }
        totals
    }
}

impl Tree {
    fn of(tree: &RegTree) -> Self {
        let node = |node: &hessboost::tree::Node| {
            if node.is_leaf() {
                return Node::Leaf { weight: node.leaf_value };
            }
            Node::Split {
                feature: node.split_feature,
                threshold: node.split_cond,
                missing_left: node.default_left,
                left: node.left as u32,
                right: node.right as u32,
                gain: node.split_gain,
            }
        };
        Self { nodes: tree.nodes().iter().map(node).collect() }
    }
}
