use crate::InferenceError;

/// What an operator objects to, before the graph adds which node it was.
#[derive(Debug)]
pub(super) enum Fault {
    /// Right, but not for this engine.
    Unsupported(String),
    /// Against the specification, or against the values of this request.
    Invalid(String),
    /// Over a limit.
    TooLarge { what: String, size: u64, limit: u64 },
}

impl Fault {
    pub(super) fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported(reason.into())
    }

    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }

    /// As met while the model is evaluated.
    pub(super) fn at_run(self, node: &str, operator: &str) -> InferenceError {
        match self {
            Self::Unsupported(reason) | Self::Invalid(reason) => {
                InferenceError::Evaluation { node: node.to_owned(), operator: operator.to_owned(), reason }
            }
            Self::TooLarge { what, size, limit } => {
                InferenceError::TooLarge { what: format!("{what} of node `{node}` ({operator})"), size, limit }
            }
        }
    }

    /// As met while the model is loaded.
    pub(super) fn at_load(self, node: &str, domain: &str, operator: &str, opset: i64) -> InferenceError {
        match self {
            Self::Unsupported(reason) => InferenceError::Unsupported {
                node: node.to_owned(),
                domain: if domain.is_empty() { "ai.onnx".to_owned() } else { domain.to_owned() },
                operator: operator.to_owned(),
                opset,
                reason,
            },
            Self::Invalid(reason) => {
                InferenceError::InvalidGraph { place: format!("node `{node}` ({operator})"), reason }
            }
            Self::TooLarge { what, size, limit } => {
                InferenceError::TooLarge { what: format!("{what} of node `{node}` ({operator})"), size, limit }
            }
        }
    }
}

/// The most elements that one tensor may have: 2^28, a gigabyte of f32.
pub(super) const ELEMENTS_LIMIT: usize = 1 << 28;

/// The number of elements of a tensor about to be made, refused over [`ELEMENTS_LIMIT`].
pub(super) fn checked_count(shape: &[usize]) -> Result<usize, Fault> {
    let count = crate::tensor::element_count(shape).unwrap_or(usize::MAX);
    if count > ELEMENTS_LIMIT {
        return Err(Fault::TooLarge {
            what: "output in elements".to_owned(),
            size: count as u64,
            limit: ELEMENTS_LIMIT as u64,
        });
    }
    Ok(count)
}
