//! Decision-tree ensembles: `TreeEnsembleClassifier` and `TreeEnsembleRegressor` (`ai.onnx.ml` 1 and 3), `TreeEnsemble` (5).
//!
//! Read from attributes ([`attributes`]), checked ([`structure`]) and laid out flat ([`forest`]). A row becomes integer
//! keys ([`columns`]), with which trees are walked without recursion ([`walk`]) or evaluated as bit vectors ([`bits`]);
//! votes are summed in the order of the trees ([`aggregate`]).

mod aggregate;
mod attributes;
mod bits;
mod classifier;
mod columns;
mod ensemble;
mod forest;
mod regressor;
mod single;
mod structure;
mod walk;

pub(super) use classifier::tree_ensemble_classifier;
pub(super) use ensemble::tree_ensemble;
pub(super) use regressor::tree_ensemble_regressor;
pub(in super::super) use single::{SingleTree, leaf_tables, sum_of_trees};

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the walk must agree to the bit")]
mod tests;
