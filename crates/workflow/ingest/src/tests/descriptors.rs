use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;

use ropewalk_store::{Store, files};

use super::fixture::{tar, zip};
use crate::{IngestSettings, Ingested, NoProgress, StoreCheckpoints, ingest};

/// Set in the process that may have few files open.
const CHILD: &str = "ROPEWALK_TEST_FEW_FILES";
const OPEN: usize = 80;
const FILES: usize = OPEN + OPEN / 2;

/// The limit holds for a whole process, so it gets one of its own.
#[test]
fn a_source_has_more_files_than_may_be_open() {
    if std::env::var(CHILD).is_ok() {
        return child();
    }
    let folder = tempfile::tempdir().unwrap();
    files::create_directories(&folder.path().join("in")).unwrap();
    let write = |name: String, bytes: &[u8]| files::write_new(&folder.path().join(name), bytes, false).unwrap();
    for number in 0..FILES {
        write(format!("in/{number}.csv"), format!("id\n{number}\n").as_bytes());
        write(format!("in/{number}.zip"), &zip(&[("a.csv", format!("id\n-{number}.5\n").as_bytes())]));
    }
    let names: Vec<String> = (0..FILES).map(|number| format!("{number:03}.png")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"no image"[..])).collect();
    write("images.tar".to_owned(), &tar(&entries));
    let name = "tests::descriptors::a_source_has_more_files_than_may_be_open";
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {OPEN} && exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(std::env::current_exe().unwrap()).args([name, "--exact", "--nocapture"]);
    let output = command.env(CHILD, "1").current_dir(folder.path()).output().unwrap();
    let (said, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}{talk}");
}

fn child() {
    let folder = std::env::current_dir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("file:{}", folder.join("store").display());
        let store = Store::open(&url).await.unwrap().with_cache(folder.join("cache"));
        let made = ingested("in", &folder, &store).await;
        assert_eq!((made.report.rows, made.executed_pieces), (2 * FILES as u64, 2 * FILES));
        let again = ingested("in", &folder, &store).await;
        assert_eq!((again.tree, again.executed_pieces), (made.tree, 0));
        let made = ingested("images.tar", &folder, &store).await;
        assert_eq!(made.report.kept_files, Some(FILES as u64));
    });
}

async fn ingested(source: &str, folder: &Path, store: &Store) -> Ingested {
    let mut settings = IngestSettings::new(source, folder.join("scratch"));
    settings.parallelism = NonZeroUsize::new(2).unwrap();
    ingest(&settings, folder, store, &StoreCheckpoints::new(store.clone()), &NoProgress).await.unwrap()
}
