use std::sync::Arc;

use ropewalk_store::files;

use crate::{Engine, EngineName, Example, InferenceError, LoadOptions, Model, ModelSource, example};

/// The file by which a folder is known to be MLflow's.
const MLMODEL: &str = "MLmodel";

/// The engines of a program, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Engines {
    engines: Vec<Arc<dyn Engine>>,
}

impl Engines {
    /// These engines, tried in this order where no one is asked for.
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Self {
        Self { engines }
    }

    /// All of them, also those that cannot be used here.
    pub fn list(&self) -> &[Arc<dyn Engine>] {
        &self.engines
    }

    /// Loads a model with the engine that is asked for, or else with the first that takes it: those first that suit it
    /// ([`Engine::suits`]). One that lies in an MLflow folder with an input example must answer it, as it is said there if it
    /// is said. Blocks.
    ///
    /// # Errors
    /// What the engine that was asked for says; or what the first says that takes this kind of model, if none can.
    pub fn load(
        &self,
        source: &ModelSource,
        wanted: Option<EngineName>,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Model>, InferenceError> {
        let named = |engine: &&Arc<dyn Engine>| wanted.is_none_or(|wanted| engine.name() == wanted);
        let engines = || self.engines.iter().filter(named).filter(|engine| engine.takes(source));
        let load = |engine: &Arc<dyn Engine>| engine.load(source, options).and_then(|model| agreeing(model, source));
        // Whatever one says that was only preferred: the others are asked in their order, and it among them.
        let suited = engines().filter(|engine| wanted.is_none() && engine.suits(source));
        if let Some(model) = suited.map(load).find_map(Result::ok) {
            return Ok(model);
        }
        let mut refusal = None;
        for engine in engines() {
            match load(engine) {
                Ok(model) => return Ok(model),
                // What one cannot evaluate, or evaluates to something else, another may; what is damaged is so for all.
                Err(
                    problem @ (InferenceError::Unsupported { .. }
                    | InferenceError::EngineAbsent { .. }
                    | InferenceError::Disagrees { .. }),
                ) => {
                    refusal.get_or_insert(problem);
                }
                Err(problem) => return Err(problem),
            }
        }
        Err(refusal.unwrap_or_else(|| InferenceError::EngineAbsent {
            engine: wanted.map_or_else(|| "any".to_owned(), |wanted| wanted.to_string()),
            reason: "no engine of this program takes this kind of model".to_owned(),
        }))
    }
}

/// A model that answers the example in its MLflow folder as it should, if it lies in one that has an example.
fn agreeing(model: Arc<dyn Model>, source: &ModelSource) -> Result<Arc<dyn Model>, InferenceError> {
    let folder = match source {
        ModelSource::Folder(folder) => Some(folder),
        ModelSource::Onnx { folder, .. } => folder.as_ref(),
    };
    let Some(folder) = folder.filter(|folder| files::exists(&folder.join(MLMODEL)).unwrap_or(false)) else {
        return Ok(model);
    };
    if let Some(example) = Example::read(folder)? {
        example::check(&*model, &example)?;
    }
    Ok(model)
}
