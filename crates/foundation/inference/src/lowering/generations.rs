//! Which versions of an operator set mean the same, so that nodes written for one can be read against another.

use std::collections::HashMap;

use crate::onnx::{FunctionProto, ModelProto, OperatorSetIdProto, main_domain_normalized};

/// Versions from which operators of the main domain mean something else than before, or take inputs where they took
/// attributes: `Upsample` and `Shape` forms (9), `Slice`, `TopK` (10), `Clip`, `Pad` (11), `Dropout` (12), `Softmax`,
/// `Squeeze`, `ReduceSum` (13), the other reductions, `Split` (18), `GroupNormalization` (21). The others only add.
const MAIN: [i64; 8] = [8, 9, 10, 11, 12, 13, 18, 21];
/// The same for `ai.onnx.ml`: `LabelEncoder` (2 and 4).
const CLASSICAL: [i64; 2] = [2, 4];

/// Whether a node written for one version means the same in the other.
fn mean_the_same(domain: &str, one: i64, other: i64) -> bool {
    let changes: &[i64] = match domain {
        "" => &MAIN,
        "ai.onnx.ml" => &CLASSICAL,
        _ => return one == other,
    };
    let generation = |version: i64| changes.iter().filter(|change| **change <= version).count();
    generation(one) == generation(other)
}

/// The versions that a model imports, and those that its functions bring along.
#[derive(Debug)]
pub(super) struct Imports {
    versions: HashMap<String, i64>,
    brought: Vec<OperatorSetIdProto>,
}

impl Imports {
    pub(super) fn of(model: &ModelProto) -> Self {
        let imports = model.opset_import.iter();
        let versions = imports.map(|one| (main_domain_normalized(&one.domain).to_owned(), one.version)).collect();
        Self { versions, brought: Vec::new() }
    }

    pub(super) fn version(&self, domain: &str) -> i64 {
        self.versions.get(main_domain_normalized(domain)).copied().unwrap_or(0)
    }

    /// Adds what a function is read against; says why its nodes cannot be read against the model's versions.
    pub(super) fn add(&mut self, function: &FunctionProto) -> Result<(), String> {
        for import in &function.opset_import {
            let domain = main_domain_normalized(&import.domain);
            let Some(version) = self.versions.get(domain) else {
                self.versions.insert(domain.to_owned(), import.version);
                self.brought.push(import.clone());
                continue;
            };
            let used = function.node.iter().any(|node| main_domain_normalized(&node.domain) == domain);
            if used && !mean_the_same(domain, *version, import.version) {
                let named = if domain.is_empty() { "ai.onnx" } else { domain };
                let (function, wanted) = (&function.name, import.version);
                return Err(format!(
                    "the function `{function}` is written for version {wanted} of {named}, the model for version \
                     {version}, in which operators mean something else"
                ));
            }
        }
        Ok(())
    }

    /// The imports that the model has not.
    pub(super) fn brought(self) -> Vec<OperatorSetIdProto> {
        self.brought
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_between_two_changes_mean_the_same() {
        assert!(mean_the_same("", 21, 22) && mean_the_same("", 13, 17) && mean_the_same("ai.onnx.ml", 2, 3));
        assert!(!mean_the_same("", 12, 13) && !mean_the_same("", 17, 18) && !mean_the_same("ai.onnx.ml", 1, 2));
        assert!(!mean_the_same("com.example", 1, 2));
    }
}
