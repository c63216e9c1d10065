//! The JSON of the Open Inference Protocol: what is read and written as binary data is read again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_open_inference::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::json(data));
