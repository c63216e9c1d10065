//! `/predict/{model}`: objects of raw columns as the inputs of models of several signatures.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_scoring::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::records(data));
