//! The binary tensor extension of the Open Inference Protocol, raw requests included.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_open_inference::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::binary(data));
