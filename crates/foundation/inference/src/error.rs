use ropewalk_types::Diagnose;

use crate::EngineName;

/// What can go wrong between a model's bytes and its answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// The bytes are not an ONNX model.
    #[error("cannot decode the model as ONNX: {reason}")]
    Malformed {
        /// What the decoder met.
        reason: String,
    },
    /// The model is ONNX but breaks the rules of the format.
    #[error("invalid graph at {place}: {reason}")]
    InvalidGraph {
        /// Node, value, input or output, by name.
        place: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// The model needs something that this engine does not evaluate.
    #[error("cannot evaluate {domain}.{operator} (opset {opset}) of node `{node}`: {reason}")]
    Unsupported {
        /// Name of the node, or of its first output where it has none.
        node: String,
        /// The operator's domain, `ai.onnx` for the main one.
        domain: String,
        /// The operator's type.
        operator: String,
        /// The version of the domain that the model imports; 0 if none.
        opset: i64,
        /// What is missing.
        reason: String,
    },
    /// The given tensors do not fit the model's signature.
    #[error("input `{input}`: expected {expected}, found {found}")]
    InvalidInput {
        /// Name of the input.
        input: String,
        /// What the model takes.
        expected: String,
        /// What came.
        found: String,
    },
    /// The tensors fit the signature, but a node cannot be evaluated on their values.
    #[error("evaluation of {operator} failed at node `{node}`: {reason}")]
    Evaluation {
        /// Name of the node, or of its first output where it has none.
        node: String,
        /// The operator's type.
        operator: String,
        /// What is wrong with the values.
        reason: String,
    },
    /// The engine is not here.
    #[error("the engine `{engine}` cannot be used: {reason}")]
    EngineAbsent {
        /// The engine.
        engine: String,
        /// What is missing.
        reason: String,
    },
    /// The engine cannot answer at this moment.
    #[error("the {engine} engine cannot answer now: {reason}")]
    NotReady {
        /// The engine.
        engine: EngineName,
        /// Why.
        reason: String,
    },
    /// The engine failed in the middle of an answer.
    #[error("the {engine} engine failed: {reason}")]
    EngineFailed {
        /// The engine.
        engine: EngineName,
        /// What it said.
        reason: String,
    },
    /// The engine's answer to the model's own example is not the one that the model came with.
    #[error("the {engine} engine disagrees with the model's own example at output `{output}`: {difference}")]
    Disagrees {
        /// The engine.
        engine: EngineName,
        /// The output.
        output: String,
        /// By how much, and where.
        difference: String,
    },
    /// A model or a tensor is over a limit.
    #[error("{what} is too large: {size}, the limit is {limit}")]
    TooLarge {
        /// The thing measured, with its unit.
        what: String,
        /// Its size.
        size: u64,
        /// The largest size allowed.
        limit: u64,
    },
    /// The shape of a tensor and the number of its elements differ.
    #[error("a tensor of shape {shape:?} cannot have {elements} elements")]
    ElementCount {
        /// The shape.
        shape: Vec<usize>,
        /// Number of elements given.
        elements: usize,
    },
}

impl Diagnose for InferenceError {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "inference.malformed",
            Self::InvalidGraph { .. } => "inference.invalid_graph",
            Self::Unsupported { .. } => "inference.unsupported",
            Self::InvalidInput { .. } => "inference.invalid_input",
            Self::Evaluation { .. } => "inference.evaluation",
            Self::EngineAbsent { .. } => "inference.engine_absent",
            Self::NotReady { .. } => "inference.not_ready",
            Self::EngineFailed { .. } => "inference.engine_failed",
            Self::Disagrees { .. } => "inference.disagrees",
            Self::TooLarge { .. } => "inference.too_large",
            Self::ElementCount { .. } => "inference.element_count",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Malformed { .. } => "check that the file is a whole `.onnx` file, for example with `onnx.checker`",
            Self::InvalidGraph { .. } => "export the model again, and check it with `onnx.checker.check_model`",
            Self::Unsupported { .. } => "serve this model with the ONNX Runtime engine, or export it without this",
            Self::InvalidInput { .. } => "ask the model's metadata for its inputs and their types and shapes",
            Self::Evaluation { .. } => "check the values of the request against what the model was trained on",
            Self::EngineAbsent { .. } => "`ropewalk doctor` says which engines are here and what the others need",
            Self::NotReady { .. } => "try again after a moment; the server's log says what is wrong",
            Self::EngineFailed { .. } => "the server's log has what the engine said",
            Self::Disagrees { .. } => {
                "serve it with another engine, or export it again with an example that it answers"
            }
            Self::TooLarge { .. } => "send smaller batches, or a smaller model",
            Self::ElementCount { .. } => "give as many elements as the product of the shape's extents",
        };
        Some(text.to_owned())
    }
}
