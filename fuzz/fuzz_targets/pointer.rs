//! The parser of the small text files in git that name a dataset's version.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use ropewalk_versions::Pointer;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(pointer) = Pointer::parse(text, Path::new("data/flights.data")) {
        let written = pointer.render();
        let again = Pointer::parse(&written, Path::new("data/flights.data"));
        assert_eq!(again.expect("what is written can be read").render(), written);
    }
});
