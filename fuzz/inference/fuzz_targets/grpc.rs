//! The tensors of the Open Inference Protocol's gRPC messages, raw and typed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_open_inference::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::grpc(data));
