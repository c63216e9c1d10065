//! `/invocations`: JSON, CSV and Parquet (the first byte chooses) as the inputs of models of several signatures.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_scoring::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::invocations(data));
