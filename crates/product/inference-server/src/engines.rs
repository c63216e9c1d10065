use std::sync::Arc;

use ropewalk_inference::{EmbeddedEngine, Engines};

use crate::Environment;

/// What the machine has of one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFinding {
    /// The engine's name.
    pub name: &'static str,
    /// Whether it can be used.
    pub available: bool,
    /// Its version, or what is missing.
    pub detail: String,
}

/// The engines of this program, in the order in which they are tried. The one place in which they are named.
pub fn engines(_environment: &Environment) -> Engines {
    Engines::new(vec![Arc::new(EmbeddedEngine)])
}

/// Which engines there are here. Blocks.
pub fn engine_findings(environment: &Environment) -> Vec<EngineFinding> {
    let found = |engine: &Arc<dyn ropewalk_inference::Engine>| {
        let (available, detail) = match engine.available() {
            Ok(version) => (true, version),
            Err(error) => (false, error.to_string()),
        };
        EngineFinding { name: engine.name().as_str(), available, detail }
    };
    engines(environment).list().iter().map(found).collect()
}
