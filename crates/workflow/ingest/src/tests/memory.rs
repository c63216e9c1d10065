use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;

use ropewalk_store::{Store, files};

use super::fixture::{Put, workbook};
use crate::{IngestSettings, NoProgress, Source, StoreCheckpoints, ingest};

/// How many workbooks the child process is to ingest; unset in the test itself.
const BOOKS: &str = "ROPEWALK_TEST_BOOKS";
const FEW: usize = 8;
const MANY: usize = 4 * FEW;
const ROWS: u32 = 10_000;
/// Enough that writing the rows of one workbook takes more memory than all that is around it.
const COLUMNS: u32 = 24;

/// The memory of a process never shrinks below its peak, so each number of workbooks gets a process of its own.
#[test]
fn memory_does_not_grow_with_the_number_of_workbooks() {
    if let Ok(count) = std::env::var(BOOKS) {
        return child(count.parse().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    for number in 0..MANY {
        files::write_atomic(&folder.path().join(book(number)), &wide_workbook(number)).unwrap();
    }
    let (few, many) = (peak_of(FEW, folder.path()), peak_of(MANY, folder.path()));
    assert!(many * 100 < few * 125, "{FEW} workbooks took {few} KB, {MANY} took {many} KB");
}

fn book(number: usize) -> String {
    format!("book-{number:02}.xlsx")
}

/// Numbers that are all different, in this workbook and in the others.
fn wide_workbook(number: usize) -> Vec<u8> {
    let names: Vec<String> = (0..COLUMNS).map(|column| format!("column{column}")).collect();
    let header: Vec<Put<'_>> = names.iter().map(|name| Put::Text(name)).collect();
    let first = number as u32 * ROWS;
    let row = |row: u32| (0..COLUMNS).map(move |column| Put::Number(f64::from((first + row) * COLUMNS + column) / 8.0));
    let rows: Vec<Vec<Put<'_>>> = (0..ROWS).map(|number| row(number).collect()).collect();
    let all: Vec<&[Put<'_>]> = [header.as_slice()].into_iter().chain(rows.iter().map(Vec::as_slice)).collect();
    workbook(&all)
}

/// The most memory that a process needed for `count` of the workbooks, in KB.
fn peak_of(count: usize, folder: &Path) -> u64 {
    let name = "tests::memory::memory_does_not_grow_with_the_number_of_workbooks";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env(BOOKS, count.to_string()).current_dir(folder);
    let output = command.output().unwrap();
    let (said, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{talk}");
    let peak = said.lines().find_map(|line| line.split_once("VmHWM:")?.1.trim().strip_suffix(" kB"));
    peak.and_then(|peak| peak.trim().parse().ok()).unwrap_or_else(|| panic!("no peak in: {said}{talk}"))
}

/// Ingests the first workbooks of the current folder, and says the peak as Linux words it.
fn child(count: usize) {
    let folder = std::env::current_dir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut settings = IngestSettings::new("", scratch.path().join("scratch"));
    settings.source = Source::Files((0..count).map(book).collect());
    settings.parallelism = NonZeroUsize::new(1).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let made = runtime.block_on(async {
        let url = format!("file:{}", scratch.path().join("store").display());
        let store = Store::open(&url).await.unwrap().with_cache(scratch.path().join("cache"));
        ingest(&settings, &folder, &store, &StoreCheckpoints::new(store.clone()), &NoProgress).await.unwrap()
    });
    assert_eq!(made.report.rows, count as u64 * u64::from(ROWS));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM:")).unwrap());
}
