use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::{DefaultMessageFormatter, MessageFormatter as _};

use super::{Field, Interface, Parameter};

/// What the file `MLmodel` says, with which MLflow describes a model in its folder (`mlflow/models/model.py`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MlModel {
    /// What the model takes and gives, if its maker said so.
    pub interface: Option<Interface>,
    /// The path of the ONNX graph in the model's folder, if there is one.
    pub onnx: Option<String>,
}

/// A text that is no `MLmodel`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its MLmodel cannot be read: {0}")]
pub struct MlModelError(String);

#[derive(Deserialize)]
struct Written {
    signature: Option<Schemas>,
    flavors: Option<Flavors>,
}

/// Each is a text of JSON.
#[derive(Deserialize)]
struct Schemas {
    inputs: Option<String>,
    outputs: Option<String>,
    params: Option<String>,
}

#[derive(Deserialize)]
struct Flavors {
    onnx: Option<Onnx>,
}

#[derive(Deserialize)]
struct Onnx {
    data: Option<String>,
}

impl MlModel {
    /// Reads the text of an `MLmodel`; what is not asked here is passed over.
    pub fn parse(text: &str) -> Result<Self, MlModelError> {
        let written: Written = serde_saphyr::from_str(text).map_err(|error| MlModelError(first_line(&error)))?;
        let interface = written.signature.map(|schemas| {
            Ok::<_, MlModelError>(Interface {
                inputs: json::<Vec<Field>>("inputs", schemas.inputs.as_deref())?,
                outputs: json::<Vec<Field>>("outputs", schemas.outputs.as_deref())?,
                parameters: json::<Vec<Parameter>>("params", schemas.params.as_deref())?.unwrap_or_default(),
            })
        });
        let onnx = written.flavors.and_then(|flavors| flavors.onnx).and_then(|onnx| onnx.data);
        Ok(Self { interface: interface.transpose()?, onnx })
    }
}

/// Without the excerpt that a terminal would be shown.
fn first_line(error: &serde_saphyr::Error) -> String {
    let message = DefaultMessageFormatter.format_message(error);
    message.lines().next().unwrap_or_default().to_owned()
}

fn json<T: DeserializeOwned>(part: &str, text: Option<&str>) -> Result<Option<T>, MlModelError> {
    let Some(text) = text else { return Ok(None) };
    serde_json::from_str(text).map_err(|error| MlModelError(format!("the {part} of the signature: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_found_among_the_rest() {
        // As PyYAML folds long texts.
        let text = "
artifact_path: mlflow-artifacts:/1/models/m-1/artifacts
flavors:
  onnx:
    code: null
    data: model.onnx
    onnx_version: 1.19.0
  python_function:
    loader_module: mlflow.onnx
mlflow_version: 3.17.2
model_size_bytes: 1204
signature:
  inputs: '[{\"type\": \"long\", \"name\": \"a\", \"required\": true}, {\"type\": \"double\", \"name\":
    \"b\", \"required\": false}, {\"type\": \"array\", \"items\": {\"type\": \"long\"}, \"name\": \"l\", \"required\": true}]'
  outputs: '[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float64\", \"shape\": [-1,
    2]}}]'
  params: '[{\"name\": \"t\", \"default\": 0.5, \"shape\": null, \"type\": \"double\"}]'
utc_time_created: '2026-11-30 12:36:03.495903'
";
        let model = MlModel::parse(text).expect("model");
        assert_eq!(model.onnx.as_deref(), Some("model.onnx"));
        let interface = model.interface.expect("signature");
        let shown = |fields: Option<Vec<Field>>| -> Vec<String> {
            let name = |field: &Field| field.name.clone().unwrap_or_default();
            fields.expect("fields").iter().map(|field| format!("{}: {field}", name(field))).collect()
        };
        assert_eq!(shown(interface.inputs), ["a: long", "b: double, optional", "l: array of long"]);
        assert_eq!(shown(interface.outputs), [": float64[-1, 2]"]);
        assert_eq!(interface.parameters[0].kind, "double");
        let bare = MlModel::parse("flavors:\n  sklearn: {code: null}\nsignature: null\n").expect("bare");
        assert_eq!(bare, MlModel::default());
        let half = MlModel::parse("signature:\n  inputs: '[]'\n  outputs: null\n").expect("half").interface;
        assert_eq!(half.expect("signature").outputs, None);
    }

    #[test]
    fn what_is_no_mlmodel_is_said_in_a_line() {
        for bad in ["signature: {inputs: 'x'}", "signature: [", "- a\n- b", "signature: {inputs: '[{}]'}"] {
            let error = MlModel::parse(bad).expect_err(bad).to_string();
            assert!(error.starts_with("its MLmodel cannot be read: ") && !error.contains('\n'), "{error}");
        }
    }
}
