//! What ONNX Runtime says, in our words.

use ort::ErrorCode;

use crate::{EngineName, InferenceError};

/// Why a model was refused.
pub(super) fn at_load(error: &ort::Error) -> InferenceError {
    let reason = error.message().to_owned();
    if let Some((domain, operator, opset)) = unregistered(&reason) {
        return InferenceError::Unsupported { node: operator.clone(), domain, operator, opset, reason };
    }
    match error.code() {
        ErrorCode::InvalidProtobuf => InferenceError::Malformed { reason },
        ErrorCode::NotImplemented => unsupported(reason),
        _ if reason.contains("Unsupported model IR version") || reason.contains("is till opset") => unsupported(reason),
        _ => InferenceError::InvalidGraph { place: "the model".to_owned(), reason },
    }
}

fn unsupported(reason: String) -> InferenceError {
    let [node, domain, operator] = ["the model", "ai.onnx", "an operator"].map(str::to_owned);
    InferenceError::Unsupported { node, domain, operator, opset: 0, reason }
}

/// Domain, operator and version in `… com.example:Rope(1) is not a registered function/op`.
fn unregistered(reason: &str) -> Option<(String, String, i64)> {
    let before = reason.split(" is not a registered").next().filter(|before| before.len() < reason.len())?;
    let (domain, rest) = before.rsplit(' ').next()?.rsplit_once(':')?;
    let (operator, opset) = rest.split_once('(')?;
    Some((domain.to_owned(), operator.to_owned(), opset.trim_end_matches(')').parse().unwrap_or(0)))
}

/// Why an answer failed: the inputs fitted the signature, so either their values are at fault or the library is.
pub(super) fn at_run(error: &ort::Error) -> InferenceError {
    let said = error.message();
    match failed_node(said) {
        Some((operator, node, reason)) => {
            let [node, operator, reason] = [node, operator, reason].map(str::to_owned);
            InferenceError::Evaluation { node, operator, reason }
        }
        None => failed(said),
    }
}

pub(super) fn failed(reason: &(impl ToString + ?Sized)) -> InferenceError {
    InferenceError::EngineFailed { engine: EngineName::OnnxRuntime, reason: reason.to_string() }
}

/// Operator, node and reason in `… while running Cast node. Name:'Cast_0' Status Message: …`.
fn failed_node(said: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = said.split_once("while running ")?;
    let (operator, rest) = rest.split_once(" node. Name:'")?;
    let (node, reason) = rest.split_once("' Status Message: ")?;
    Some((operator, node, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_operators_are_found_in_what_the_library_says() {
        let said = "Non-zero status code returned while running Cast node. Name:'Cast_0' Status Message: bad text";
        assert_eq!(failed_node(said), Some(("Cast", "Cast_0", "bad text")));
        assert_eq!(failed_node("out of memory"), None);
        let said = "Fatal error: com.example:Rope(1) is not a registered function/op";
        assert_eq!(unregistered(said), Some(("com.example".to_owned(), "Rope".to_owned(), 1)));
        assert_eq!(unregistered("something else"), None);
    }
}
