//! Mixed traffic on one server while models move.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{python, script};

/// The hour is run by hand: docs/benchmarks.md says how.
const SECONDS: &str = "45";
/// Requests a second: the machine is not to be busy.
const RATE: &str = "40";

#[test]
fn under_mixed_traffic_models_move_without_an_error_and_nothing_grows() {
    let scratch = tempfile::tempdir().expect("folder");
    let mut command = Command::new(python());
    command.arg(script("serving_soak")).args(["--ropewalk", env!("CARGO_BIN_EXE_ropewalk"), "--folder"]);
    command.arg(scratch.path().join("soak")).args(["--seconds", SECONDS, "--rate", RATE, "--clients", "4"]);
    let output = command.stdin(Stdio::null()).output().expect("python");
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{told}");
    assert!(output.status.success(), "{told}\n{said}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    // Every kind of request, and every change, was among it.
    let kinds = told["requests"].as_object().expect("requests");
    for kind in [
        "rest_json",
        "rest_binary",
        "rest_compressed",
        "grpc_unary",
        "grpc_stream",
        "invocations_json",
        "invocations_csv",
        "predict",
        "read",
        "mistake",
        "alias_moves",
        "is_loaded_anew",
        "comes_and_goes",
    ] {
        assert!(kinds.get(kind).and_then(Value::as_u64) > Some(2), "{kind} in {kinds:?}");
    }
}
