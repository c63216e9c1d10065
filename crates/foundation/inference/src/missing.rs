//! What no engine here can evaluate, told in one message.

use crate::InferenceError;

/// One node that cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Its name, or that of its first output.
    pub(crate) node: String,
    /// The domain, `ai.onnx` for the main one.
    pub(crate) domain: String,
    /// The operator.
    pub(crate) operator: String,
    /// The imported version of the domain; 0 if none.
    pub(crate) opset: i64,
    /// What is missing.
    pub(crate) reason: String,
}

/// How many kinds of nodes one message names.
const KINDS_LIMIT: usize = 24;

/// One error that names every operator of `missing` with a node of it; none if nothing is missing.
pub(crate) fn unsupported(missing: &[Missing]) -> Option<InferenceError> {
    let first = missing.first()?;
    let mut kinds: Vec<(&Missing, usize)> = Vec::new();
    for one in missing {
        let same = |other: &&mut (&Missing, usize)| {
            (&other.0.domain, &other.0.operator, &other.0.reason) == (&one.domain, &one.operator, &one.reason)
        };
        match kinds.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None => kinds.push((one, 1)),
        }
    }
    let mut reason = first.reason.clone();
    for (index, (one, count)) in kinds.iter().enumerate().take(KINDS_LIMIT) {
        if index > 0 {
            reason.extend(["; nor ", &one.domain, ".", &one.operator, " of node `", &one.node, "`: ", &one.reason]);
        }
        if *count > 1 {
            reason.extend([" (and ", &(count - 1).to_string(), " more such nodes)"]);
        }
    }
    if kinds.len() > KINDS_LIMIT {
        reason.extend(["; and ", &(kinds.len() - KINDS_LIMIT).to_string(), " other kinds of nodes"]);
    }
    Some(InferenceError::Unsupported {
        node: first.node.clone(),
        domain: first.domain.clone(),
        operator: first.operator.clone(),
        opset: first.opset,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(operator: &str, node: &str) -> Missing {
        Missing {
            node: node.to_owned(),
            domain: "ai.onnx".to_owned(),
            operator: operator.to_owned(),
            opset: 17,
            reason: "not implemented".to_owned(),
        }
    }

    #[test]
    fn every_kind_is_named_once() {
        assert_eq!(unsupported(&[]), None);
        let error = unsupported(&[missing("Det", "a"), missing("Unique", "b"), missing("Det", "c")]).unwrap();
        assert_eq!(
            error.to_string(),
            "cannot evaluate ai.onnx.Det (opset 17) of node `a`: not implemented (and 1 more such nodes); nor \
             ai.onnx.Unique of node `b`: not implemented"
        );
    }
}
