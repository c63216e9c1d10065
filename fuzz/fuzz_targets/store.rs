//! The codecs of what lies in a store: index objects, recipes, pieces of packs; the first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_store::fuzzing;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    match choice % 3 {
        0 => fuzzing::index(bytes),
        1 => fuzzing::recipe(bytes),
        _ => fuzzing::piece(bytes),
    }
});
