//! Texts of separated values, in several dialects and encodings.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use ropewalk_fuzz::{check, ingest_as};
use ropewalk_ingest::{Dialect, HeaderRow};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((first, bytes)) = data.split_first() else { return Corpus::Reject };
    let flag = |bit: u8| first & (1 << bit) != 0;
    let made = ingest_as("a.csv", bytes, |settings| {
        settings.dialect = Dialect {
            delimiter: flag(0).then_some(';'),
            quote: (!flag(1)).then_some('"'),
            comment: flag(2).then_some('#'),
            encoding: flag(3).then(|| "shift_jis".to_owned()),
        };
        settings.header = match first >> 6 {
            0 | 1 => HeaderRow::First,
            2 => HeaderRow::Absent,
            _ => HeaderRow::Row(2),
        };
    });
    if let Ok(made) = made {
        check(&made);
    }
    Corpus::Keep
});
