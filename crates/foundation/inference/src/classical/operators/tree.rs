//! Decision-tree ensembles: `TreeEnsembleClassifier` and `TreeEnsembleRegressor` (`ai.onnx.ml` 1 and 3).
//!
//! Read from attributes ([`attributes`]), checked and laid out flat ([`forest`]), walked without recursion
//! ([`walk`]), summed ([`aggregate`]).

mod aggregate;
mod attributes;
mod classifier;
mod forest;
mod regressor;
mod structure;
mod walk;

pub(super) use classifier::tree_ensemble_classifier;
pub(super) use regressor::tree_ensemble_regressor;

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the walk must agree to the bit")]
mod tests;
