//! The walker of archives: zip, tar, compressed tar, and archives in archives.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use ropewalk_fuzz::{check, ingest_as};

const NAMES: [&str; 5] = ["a.zip", "a.tar", "a.tar.gz", "a.tar.zst", "a.csv.gz"];

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((first, bytes)) = data.split_first() else { return Corpus::Reject };
    let name = NAMES[usize::from(*first) % NAMES.len()];
    if let Ok(made) = ingest_as(name, bytes, |_| ()) {
        check(&made);
        for file in &made.report.files {
            assert!(!file.name.split('/').any(|part| part == ".."), "a name leads outside: {}", file.name);
        }
    }
    Corpus::Keep
});
