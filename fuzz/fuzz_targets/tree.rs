//! The codec of trees: what is accepted is canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_store::Tree;

fuzz_target!(|data: &[u8]| {
    if let Ok(tree) = Tree::decode(data) {
        assert_eq!(tree.encode(), data, "two encodings of one tree");
    }
});
