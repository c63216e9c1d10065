//! Where the rows of a version of a table came from: places, moments, queries, files, counts and digests.

use std::fmt::Write as _;

use ropewalk_data::DatasetVersion;
use ropewalk_ingest::{FileReport, Import, TableReport};
use ropewalk_types::{Uri, counted};

use crate::output::{moment, printable};

/// Files, imports and sources that are listed; of others it is said how many there are.
const LISTED: usize = 20;
/// Letters of a query that are shown.
const QUERY: usize = 400;

/// What the record of a version says of where it came from; `sources` is what the stage that made it read.
pub(super) fn told(version: &DatasetVersion, sources: &[Uri], report: &TableReport) -> String {
    let mut text = format!("made {} UTC\n", moment(version.created_at.millis()));
    let imports = report.origin.as_ref().map_or(&[][..], |origin| origin.imports.as_slice());
    // Places that were asked are told of with what they answered.
    let asked = |uri: &&Uri| !matches!(uri, Uri::File { .. }) || imports.is_empty();
    list(&mut text, "read", sources.iter().filter(asked), source);
    // The newest first: what is added to a version is what is looked for.
    list(&mut text, "imported", imports.iter().rev(), import);
    list(&mut text, "files", report.files.iter(), file);
    text
}

fn list<'a, T: 'a>(text: &mut String, heading: &str, all: impl Iterator<Item = &'a T>, line: fn(&T) -> String) {
    let all: Vec<&T> = all.collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(text, "{heading}");
    for one in all.iter().take(LISTED) {
        let _ = writeln!(text, "  {}", line(one));
    }
    if all.len() > LISTED {
        let _ = writeln!(text, "  … and {} more", all.len() - LISTED);
    }
}

fn source(uri: &Uri) -> String {
    match uri {
        Uri::File { path, digest } => format!("{}, digest {}", printable(path), digest.short()),
        other => printable(&other.to_string()),
    }
}

fn import(import: &Import) -> String {
    let Import { location, retrieved_at, query, file, rows, digest, .. } = import;
    let mut text = printable(location);
    if let Some(file) = file {
        let _ = write!(text, " {}", printable(file));
    }
    let _ = write!(text, ", {} UTC", moment(retrieved_at.millis()));
    if let Some(rows) = rows {
        let _ = write!(text, ", {}", counted(*rows, "row"));
    }
    let _ = write!(text, ", digest {}", digest.short());
    if let Some(query) = query {
        let words = query.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: String = words.chars().take(QUERY).collect();
        let cut = if shown.len() < words.len() { " …" } else { "" };
        let _ = write!(text, "\n    {}{cut}", printable(&shown));
    }
    text
}

fn file(file: &FileReport) -> String {
    let FileReport { name, digest, sheet, rows, quarantined, .. } = file;
    let sheet = sheet.as_ref().map_or_else(String::new, |sheet| format!(" [{}]", printable(sheet)));
    let aside = if *quarantined == 0 { String::new() } else { format!(", {quarantined} set aside") };
    format!("{}{sheet}, {}{aside}, digest {}", printable(name), counted(*rows, "row"), digest.short())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ropewalk_ingest::{Origin, REPORT_FORMAT};
    use ropewalk_types::{DatasetName, Digest, Timestamp, Zone};

    use super::*;

    fn version() -> DatasetVersion {
        DatasetVersion {
            name: DatasetName::new("orders").expect("name"),
            digest: Digest::of(b"v"),
            zone: Zone::Raw,
            rows: 0,
            columns: Vec::new(),
            bytes: 0,
            quarantined: 0,
            stage_key: None,
            created_at: Timestamp(1_700_000_000_000),
        }
    }

    fn report(files: usize, origin: Option<Origin>) -> TableReport {
        let file = |number: usize| FileReport {
            name: format!("{number}\u{1b}.csv"),
            digest: Digest::of(b"f"),
            sheet: None,
            delimiter: None,
            encoding: None,
            rows: 3,
            quarantined: u64::from(number == 0),
            missing_columns: Vec::new(),
            notes: Vec::new(),
        };
        TableReport {
            format: REPORT_FORMAT,
            rows: 0,
            columns: Vec::new(),
            files: (0..files).map(file).collect(),
            skipped: Vec::new(),
            quarantined: 0,
            empty_rows: 0,
            error_cells: 0,
            notes: Vec::new(),
            kept_files: None,
            origin,
        }
    }

    #[test]
    fn files_are_listed_up_to_a_number() {
        let source = Uri::File { path: "orders/*.csv".to_owned(), digest: Digest::of(b"s") };
        let text = told(&version(), &[source], &report(23, None));
        assert!(text.starts_with("made 2023-11-14 22:13:20 UTC\nread\n  orders/*.csv, digest "), "{text}");
        assert!(text.contains("  0\\u{1b}.csv, 3 rows, 1 set aside, digest "), "{text}");
        assert!(text.contains("  19\\u{1b}.csv, 3 rows, digest ") && !text.contains("  20\\u{1b}"), "{text}");
        assert!(text.ends_with("  … and 3 more\n"), "{text}");
        assert_eq!(told(&version(), &[], &report(0, None)), "made 2023-11-14 22:13:20 UTC\n");
    }

    #[test]
    fn what_was_asked_is_told_with_its_query_and_answer() {
        let import = Import {
            location: "postgres://db/shop".to_owned(),
            retrieved_at: Timestamp(1_700_000_001_000),
            query: Some(format!("SELECT *\n  FROM orders -- {}", "x".repeat(QUERY))),
            file: None,
            rows: Some(7),
            digest: Digest::of(b"i"),
            facts: BTreeMap::new(),
        };
        let place = Uri::File { path: import.location.clone(), digest: import.digest };
        let tracked: Uri = "data:birds@aa".parse().expect("uri");
        let origin = Origin { imports: vec![import], cursor: None };
        let text = told(&version(), &[place, tracked], &report(0, Some(origin)));
        let digest = Digest::of(b"i").short();
        let line = format!("  postgres://db/shop, 2023-11-14 22:13:21 UTC, 7 rows, digest {digest}\n");
        assert!(
            text.contains(&format!("read\n  data:birds@aa\nimported\n{line}    SELECT * FROM orders -- x")),
            "{text}"
        );
        assert!(text.ends_with("x …\n"), "{text}");
    }
}
