//! The engines outside of the program: the real ONNX Runtime and real Python workers.

pub(crate) mod onnxruntime;
mod workers;

use std::path::PathBuf;

/// The Python that has the foreign clients; `cargo xtask test` says where.
fn python() -> PathBuf {
    let path = std::env::var_os("ROPEWALK_TEST_PYTHON");
    path.unwrap_or_else(|| panic!("ROPEWALK_TEST_PYTHON is not set: run the tests by `cargo xtask test`")).into()
}
