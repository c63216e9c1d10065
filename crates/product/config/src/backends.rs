use serde::{Deserialize, Serialize};

/// Which engines stand behind the boxes. The defaults need no service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backends {
    /// Where bytes lie: an object store's URL; `file:` paths are relative to the project.
    pub storage: String,
    /// Where facts lie: a database's URL; `sqlite:` paths are relative to the project.
    pub catalog: String,
    /// Where stages run.
    pub executor: String,
}

impl Default for Backends {
    fn default() -> Self {
        Self {
            storage: "file:.ropewalk/store".to_owned(),
            catalog: "sqlite:.ropewalk/catalog.db".to_owned(),
            executor: "local".to_owned(),
        }
    }
}
