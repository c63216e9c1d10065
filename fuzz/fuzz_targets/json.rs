//! JSON documents and JSON Lines, with types from all records or from the first ones.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use ropewalk_fuzz::{check, ingest_as};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((first, bytes)) = data.split_first() else { return Corpus::Reject };
    let name = if first & 1 == 0 { "a.json" } else { "a.jsonl" };
    let made = ingest_as(name, bytes, |settings| {
        settings.inferred_records = (first & 2 != 0).then_some(2);
        settings.type_tolerance = if first & 4 == 0 { 0.0 } else { 0.4 };
    });
    if let Ok(made) = made {
        check(&made);
    }
    Corpus::Keep
});
