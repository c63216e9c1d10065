use std::sync::Arc;

use crate::{Engine, EngineName, InferenceError, LoadOptions, Model, ModelSource};

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

    /// Loads a model with the engine that is asked for, or else with the first that takes it. Blocks.
    ///
    /// # Errors
    /// What the engine that was asked for says; or what the first says that takes this kind of model, if none can.
    pub fn load(
        &self,
        source: &ModelSource,
        wanted: Option<EngineName>,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Model>, InferenceError> {
        let mut refusal = None;
        for engine in self.engines.iter().filter(|engine| wanted.is_none_or(|wanted| engine.name() == wanted)) {
            if !engine.takes(source) {
                continue;
            }
            match engine.load(source, options) {
                Ok(model) => return Ok(model),
                // What one cannot evaluate another may; what is damaged is so for all.
                Err(problem @ (InferenceError::Unsupported { .. } | InferenceError::EngineAbsent { .. })) => {
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
