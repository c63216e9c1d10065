//! The example that a model comes with, and whether an engine answers it as the model's author did.

mod compare;
mod fill;

use std::path::Path;

use ropewalk_store::files;
use ropewalk_types::Signature;
use serde_json::{Map, Value};

use crate::{InferenceError, Model, NamedTensor};

pub(crate) use fill::{extents, flatten};

/// The largest file of an example, in bytes.
const BYTES_LIMIT: u64 = 64 << 20;
/// Files with the input, as MLflow lays them down: the one says in which form it is, the other is what was logged.
const INPUT_FILES: [&str; 2] = ["serving_input_example.json", "input_example.json"];
/// Files with the answer to it, which MLflow does not write itself.
const EXPECTED_FILES: [&str; 2] = ["expected_output.json", "output_example.json"];

/// Values as JSON has them, before a signature gives them types.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    /// Columns of a table, by name, in order.
    Columns(Vec<(String, Vec<Value>)>),
    /// One array, nested.
    Array(Value),
    /// Arrays by name.
    Named(Vec<(String, Value)>),
}

/// An input and, where it is known, what the model answers to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    input: Values,
    expected: Option<Values>,
}

impl Example {
    /// The example in an MLflow model folder, if there is one that is text: `serving_input_example.json` or
    /// `input_example.json` (`dataframe_split`, `dataframe_records`, `inputs`, `instances`, or what MLflow logs for a
    /// data frame or an array), and the answer in `expected_output.json` or `output_example.json` (one of these, or
    /// `predictions` or `outputs`). Parameters that stand beside the input are not used.
    ///
    /// # Errors
    /// [`InferenceError::Malformed`] if such a file cannot be read as one.
    pub fn read(folder: &Path) -> Result<Option<Self>, InferenceError> {
        let Some(input) = first(folder, &INPUT_FILES)? else { return Ok(None) };
        let expected = first(folder, &EXPECTED_FILES)?;
        Ok(Some(Self { input, expected }))
    }

    /// Whether the answer is known.
    pub fn has_answer(&self) -> bool {
        self.expected.is_some()
    }

    /// The input as tensors of `signature`.
    ///
    /// # Errors
    /// [`InferenceError::InvalidInput`] if it does not fit.
    pub fn inputs(&self, signature: &Signature) -> Result<Vec<NamedTensor>, InferenceError> {
        fill::tensors(&self.input, signature)
    }

    pub(crate) fn values(&self) -> &Values {
        &self.input
    }
}

/// Asks `model` its own example: the answer must be the expected one, numbers within 1e-4 of the larger of 1 and their
/// value, labels and text equal; where none is known, there must be an answer.
///
/// # Errors
/// [`InferenceError::Disagrees`] if it is another, and whatever the model says if it does not answer.
pub fn check(model: &dyn Model, example: &Example) -> Result<(), InferenceError> {
    let outputs = model.predict(&example.inputs(model.signature())?)?;
    match &example.expected {
        Some(expected) => compare::agree(model, &outputs, expected),
        None => Ok(()),
    }
}

fn first(folder: &Path, names: &[&str]) -> Result<Option<Values>, InferenceError> {
    for name in names {
        let path = folder.join(name);
        let malformed = |reason: String| InferenceError::Malformed { reason: format!("{}: {reason}", path.display()) };
        if !files::exists(&path).map_err(|error| malformed(error.to_string()))? {
            continue;
        }
        let text = files::read_text(&path, BYTES_LIMIT).map_err(|error| malformed(error.to_string()))?;
        let value = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        return values(value).map(Some).ok_or_else(|| malformed("it is in no form of an MLflow example".to_owned()));
    }
    Ok(None)
}

/// The values in any of MLflow's forms.
fn values(value: Value) -> Option<Values> {
    match value {
        Value::Object(mut object) => {
            for key in ["dataframe_split", "dataframe_records", "inputs", "instances", "predictions", "outputs"] {
                if let Some(inner) = object.remove(key) {
                    return values(inner);
                }
            }
            match (object.get("columns"), object.get("data")) {
                (Some(Value::Array(columns)), Some(Value::Array(rows))) => split(columns, rows),
                (None, Some(Value::Array(rows))) => values(Value::Array(rows.clone())),
                _ => (!object.is_empty()).then(|| Values::Named(object.into_iter().collect())),
            }
        }
        Value::Array(rows) if !rows.is_empty() && rows.iter().all(Value::is_object) => records(&rows),
        Value::Null => None,
        other => Some(Values::Array(other)),
    }
}

fn split(columns: &[Value], rows: &[Value]) -> Option<Values> {
    let name = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let column = |(place, header)| {
        let values = rows.iter().map(|row| row.get(place).cloned()).collect::<Option<Vec<_>>>()?;
        Some((name(header), values))
    };
    columns.iter().enumerate().map(column).collect::<Option<Vec<_>>>().map(Values::Columns)
}

/// Rows as objects; the first says which columns there are, and one that a row leaves out is missing there.
fn records(rows: &[Value]) -> Option<Values> {
    let names = rows.first().and_then(Value::as_object).map(Map::keys)?;
    let column = |name: &String| {
        let values = rows.iter().map(|row| row.get(name).cloned().unwrap_or(Value::Null)).collect();
        (name.clone(), values)
    };
    Some(Values::Columns(names.map(column).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns(names: [&str; 2]) -> Values {
        let column = |name: &str, values: [i64; 2]| (name.to_owned(), values.map(Value::from).to_vec());
        Values::Columns(vec![column(names[0], [1, 3]), column(names[1], [2, 4])])
    }

    #[test]
    fn every_form_of_mlflow_is_read() {
        let split = json!({"columns": ["b", "a"], "data": [[1, 2], [3, 4]]});
        assert_eq!(values(split.clone()), Some(columns(["b", "a"])));
        assert_eq!(values(json!({ "dataframe_split": split })), Some(columns(["b", "a"])));
        let records = json!([{"a": 1, "b": 2}, {"a": 3, "b": 4}]);
        assert_eq!(values(json!({ "dataframe_records": records, "params": {"x": 1} })), Some(columns(["a", "b"])));
        assert_eq!(values(json!({ "instances": records })), Some(columns(["a", "b"])));
        assert_eq!(values(json!({ "inputs": [[1, 2]] })), Some(Values::Array(json!([[1, 2]]))));
        assert_eq!(values(json!([[1, 2]])), Some(Values::Array(json!([[1, 2]]))));
        let named = json!({"x": [1], "y": [2]});
        let expected = Values::Named(vec![("x".to_owned(), json!([1])), ("y".to_owned(), json!([2]))]);
        assert_eq!(values(json!({ "inputs": named })), Some(expected));
        assert_eq!(values(json!({})), None);
    }

    #[test]
    fn a_folder_without_an_example_has_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Example::read(folder.path()).unwrap(), None);
        std::fs::write(folder.path().join("input_example.json"), "[1, 2").unwrap();
        assert!(Example::read(folder.path()).unwrap_err().to_string().contains("input_example.json"));
    }
}
