use std::path::{Path, PathBuf};

use ropewalk_store::files;
use serde::Deserialize;

use super::layout::{ModelFile, wrong};
use crate::InferenceServerError;

/// The file that makes a folder a model of MLflow's.
pub(super) const MLMODEL: &str = "MLmodel";
/// Longest `MLmodel` that is read, in bytes: it may hold an input example's schema.
const LONGEST: u64 = 4 << 20;

#[derive(Deserialize)]
struct MlModel {
    #[serde(default)]
    flavors: Flavors,
}

#[derive(Default, Deserialize)]
struct Flavors {
    onnx: Option<Onnx>,
}

#[derive(Deserialize)]
struct Onnx {
    data: Option<String>,
}

/// What of a folder of MLflow's is served: its ONNX graph where it has one, and else the folder, for the Python engine.
pub(super) fn model_file(folder: &Path) -> Result<ModelFile, InferenceServerError> {
    let path = folder.join(MLMODEL);
    let text = files::read_text(&path, LONGEST)?;
    let read: MlModel = serde_saphyr::from_str(&text)
        .map_err(|error| wrong(&path, &format!("it is no MLmodel: {error}"), "log the model again by MLflow"))?;
    let Some(graph) = read.flavors.onnx.and_then(|onnx| onnx.data) else {
        return Ok(ModelFile::Folder(folder.to_owned()));
    };
    // What stands there may be anybody's: a file of this folder and no other.
    let relative = PathBuf::from(&graph);
    let plain = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !plain || graph.is_empty() {
        return Err(wrong(&path, &format!("its graph `{graph}` is not inside of the folder"), "log the model again"));
    }
    Ok(ModelFile::Onnx(folder.join(relative)))
}
