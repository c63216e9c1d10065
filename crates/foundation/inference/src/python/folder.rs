//! An MLflow model folder: its `MLmodel` file (MLflow documentation, "MLflow Models", storage format).

use std::collections::BTreeMap;
use std::path::Path;

use ropewalk_store::files;
use ropewalk_types::{ElementType, TensorSpec};
use serde::Deserialize;

use crate::InferenceError;

/// The largest `MLmodel` that is read, in bytes.
const BYTES_LIMIT: u64 = 4 << 20;

/// How the model takes its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A data frame of columns.
    Frame,
    /// One array.
    Array,
    /// Arrays by name.
    Named,
}

/// One input or output of the model's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) spec: TensorSpec,
    /// The model's own name for it, if it has one.
    pub(super) key: Option<String>,
    /// MLflow's name of its type.
    pub(super) kind: String,
    pub(super) required: bool,
}

/// What the folder says about the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) form: Form,
    /// None if the model has no signature.
    pub(super) inputs: Option<Vec<Field>>,
    pub(super) outputs: Option<Vec<Field>>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    flavors: BTreeMap<String, serde_json::Value>,
    signature: Option<SignatureTexts>,
}

#[derive(Deserialize)]
struct SignatureTexts {
    inputs: Option<String>,
    outputs: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: serde_json::Value,
    name: Option<serde_json::Value>,
    required: Option<bool>,
    optional: Option<bool>,
    #[serde(rename = "tensor-spec")]
    tensor: Option<TensorEntry>,
}

#[derive(Deserialize)]
struct TensorEntry {
    dtype: String,
    shape: Vec<i64>,
}

/// Reads `MLmodel`.
///
/// # Errors
/// [`InferenceError::Malformed`] if it cannot be read, [`InferenceError::Unsupported`] if it has neither flavour that is
/// served, or a type in its signature that is no tensor.
pub(super) fn read(folder: &Path) -> Result<Described, InferenceError> {
    let path = folder.join("MLmodel");
    let malformed = |reason: String| InferenceError::Malformed { reason: format!("{}: {reason}", path.display()) };
    let text = files::read_text(&path, BYTES_LIMIT).map_err(|error| malformed(error.to_string()))?;
    let file: File = serde_saphyr::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    if !["python_function", "sklearn"].iter().any(|flavour| file.flavors.contains_key(*flavour)) {
        let has = file.flavors.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(refused("MLmodel", "flavour", format!("it has {has}, and python_function or sklearn is needed")));
    }
    let texts = file.signature.unwrap_or(SignatureTexts { inputs: None, outputs: None });
    let entries = |text: Option<String>| -> Result<Option<Vec<Entry>>, InferenceError> {
        text.map(|text| serde_json::from_str(&text).map_err(|error| malformed(format!("its signature: {error}"))))
            .transpose()
    };
    let (inputs, outputs) = (entries(texts.inputs)?, entries(texts.outputs)?);
    let form = form(inputs.as_deref().unwrap_or_default())?;
    let inputs = inputs.map(|entries| fields(&entries, "input", &[-1, 1])).transpose()?;
    let outputs = outputs.map(|entries| fields(&entries, "output", &[-1])).transpose()?;
    Ok(Described { form, inputs: inputs.filter(|all| !all.is_empty()), outputs: outputs.filter(|all| !all.is_empty()) })
}

fn form(inputs: &[Entry]) -> Result<Form, InferenceError> {
    let tensors = inputs.iter().filter(|entry| entry.tensor.is_some()).count();
    match (tensors, inputs) {
        (0, _) => Ok(Form::Frame),
        (1, [Entry { name: None, .. }]) => Ok(Form::Array),
        (count, _) if count == inputs.len() => Ok(Form::Named),
        _ => Err(refused("signature", "inputs", "it mixes columns and tensors".to_owned())),
    }
}

/// The fields of a schema; `column` is the shape of a column.
fn fields(entries: &[Entry], side: &str, column: &[i64]) -> Result<Vec<Field>, InferenceError> {
    let many = entries.len() > 1;
    let each = entries.iter().enumerate().map(|(place, entry)| {
        let key = entry.name.as_ref().map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned));
        let unnamed = || if many { format!("{side}_{place}") } else { side.to_owned() };
        let name = key.clone().unwrap_or_else(unnamed);
        let (datatype, kind, shape) = if let Some(tensor) = &entry.tensor {
            (tensor_type(&tensor.dtype), tensor.dtype.clone(), tensor.shape.clone())
        } else {
            let kind = entry.kind.as_str().map_or_else(|| entry.kind.to_string(), str::to_owned);
            (column_type(&kind), kind, column.to_vec())
        };
        let datatype =
            datatype.ok_or_else(|| refused(&name, &kind, "it is no tensor of numbers or text".to_owned()))?;
        let required = entry.required.unwrap_or(true) && !entry.optional.unwrap_or(false);
        Ok(Field { spec: TensorSpec { name, datatype, shape }, key, kind, required })
    });
    each.collect()
}

fn refused(node: &str, operator: &str, reason: String) -> InferenceError {
    let [node, domain, operator] = [node, "mlflow", operator].map(str::to_owned);
    InferenceError::Unsupported { node, domain, operator, opset: 0, reason }
}

/// MLflow's `DataType`s. Times are text in ISO 8601.
fn column_type(kind: &str) -> Option<ElementType> {
    Some(match kind {
        "boolean" => ElementType::Bool,
        "integer" => ElementType::Int32,
        "long" => ElementType::Int64,
        "float" => ElementType::Fp32,
        "double" => ElementType::Fp64,
        "string" | "binary" | "datetime" => ElementType::Bytes,
        _ => return None,
    })
}

/// NumPy's names of types, as MLflow writes them.
fn tensor_type(dtype: &str) -> Option<ElementType> {
    Some(match dtype {
        "bool" => ElementType::Bool,
        "uint8" => ElementType::Uint8,
        "uint16" => ElementType::Uint16,
        "uint32" => ElementType::Uint32,
        "uint64" => ElementType::Uint64,
        "int8" => ElementType::Int8,
        "int16" => ElementType::Int16,
        "int32" => ElementType::Int32,
        "int64" => ElementType::Int64,
        "float16" => ElementType::Fp16,
        "float32" => ElementType::Fp32,
        "float64" => ElementType::Fp64,
        "object" | "str" | "bytes" => ElementType::Bytes,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(signature: &str) -> Result<Described, InferenceError> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n{signature}");
        std::fs::write(folder.path().join("MLmodel"), text).unwrap();
        read(folder.path())
    }

    #[test]
    fn columns_are_a_frame() {
        let inputs = r#"[{"type": "double", "name": "a", "required": true}, {"type": "string", "name": "b", "required": false}]"#;
        let outputs = r#"[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]"#;
        let found = described(&format!("signature:\n  inputs: '{inputs}'\n  outputs: '{outputs}'\n  params: null\n"));
        let found = found.unwrap();
        assert_eq!(found.form, Form::Frame);
        let inputs = found.inputs.unwrap();
        assert_eq!(inputs[0].spec.to_string(), "a: FP64[-1, 1]");
        assert_eq!(inputs[1].spec.to_string(), "b: BYTES[-1, 1]");
        assert!(inputs[0].required && !inputs[1].required);
        assert_eq!(found.outputs.unwrap()[0].spec.to_string(), "output: INT64[-1]");
    }

    #[test]
    fn tensors_are_arrays() {
        let one = r#"[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]"#;
        let found = described(&format!("signature:\n  inputs: '{one}'\n  outputs: null\n")).unwrap();
        assert_eq!((found.form, found.outputs), (Form::Array, None));
        let named = r#"[{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "object", "shape": [-1]}}]"#;
        let found = described(&format!("signature:\n  inputs: '{named}'\n")).unwrap();
        assert_eq!(found.form, Form::Named);
        assert_eq!(found.inputs.unwrap()[0].spec.to_string(), "x: BYTES[-1]");
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        let nested = r#"[{"type": "array", "items": {"type": "long"}, "name": "tags", "required": true}]"#;
        let error = described(&format!("signature:\n  inputs: '{nested}'\n")).unwrap_err();
        assert!(error.to_string().contains("mlflow.array") && error.to_string().contains("`tags`"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("MLmodel"), "flavors:\n  spark: {}\n").unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("it has spark"));
        assert!(described("").unwrap().inputs.is_none());
    }
}
