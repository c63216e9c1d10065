//! The codecs of what a remote says of tables: records of versions and states; the first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_data::fuzzing;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    match choice % 2 {
        0 => fuzzing::record(bytes),
        _ => fuzzing::state(bytes),
    };
});
