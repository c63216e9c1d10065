//! Files on disk as tables.

use ropewalk_store::files;
use ropewalk_types::Diagnose as _;

use super::answers::written;
use super::fixture::{Project, texts};
use crate::{AnswerFormat, DataError, FileAccess, QueryLimits, QueryTables, describe_query, query_stream};

struct Files {
    project: Project,
    tables: QueryTables,
}

impl Files {
    async fn new() -> Self {
        let project = Project::new().await;
        let tables = QueryTables::default().with_files(FileAccess::inside(project.path()));
        Self { project, tables }
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.project.path().join(path);
        files::create_directories(path.parent().unwrap()).unwrap();
        files::write_atomic(&path, bytes).unwrap();
    }

    /// The rows, and the notes at their end.
    async fn ask(&self, sql: &str) -> Result<(Vec<String>, Vec<String>), DataError> {
        let limits = QueryLimits::new(self.project.scratch());
        let mut stream = query_stream(sql, &self.tables, &self.project.store, &limits).await?;
        let mut rows = Vec::new();
        while let Some(batch) = stream.next_batch().await? {
            rows.extend(texts(&[batch]));
        }
        Ok((rows, stream.notes()))
    }

    async fn rows(&self, sql: &str) -> Vec<String> {
        self.ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).0
    }

    /// Writes what `sql` answers as Parquet; its bytes.
    async fn parquet(&self, sql: &str) -> Vec<u8> {
        written(&self.project, &self.tables, sql, AnswerFormat::Parquet).await.unwrap().0
    }
}

#[tokio::test]
async fn dialects_and_packed_files() {
    let files = Files::new().await;
    files.put("s.csv", b"code;price;at\n007;\"1;5\";2013-01-01\nNA;x;2013-01-02\n");
    files.put("b.csv", b"\xef\xbb\xbfid|name\n1|x\n");
    files.put("n.json", br#"[{"id": 1, "place": {"x": [1, 2]}}, {"id": 2}]"#);
    assert_eq!(
        files.rows("SELECT code, price, at FROM 's.csv' ORDER BY at").await,
        ["007|1;5|2013-01-01", "|x|2013-01-02"]
    );
    assert_eq!(
        files.rows("SELECT arrow_typeof(code) AS t, arrow_typeof(at) AS u FROM 's.csv' LIMIT 1").await,
        ["Utf8|Date32"]
    );
    assert_eq!(files.rows("SELECT id, b.name FROM 'b.csv' b").await, ["1|x"]);
    assert_eq!(files.rows("SELECT place['x'][2] AS y FROM 'n.json' WHERE id = 1").await, ["2"]);
    assert_eq!(files.rows("SELECT count(*) AS n FROM 's.csv' a, 's.csv' b").await, ["4"]);
    assert_eq!(files.rows("SELECT count(*) AS n, sum(id) AS s FROM '*.{csv,json}'").await, ["5|4"]);
}

#[tokio::test]
async fn what_is_left_out_is_noted() {
    let files = Files::new().await;
    files.put("d/ragged.csv", b"a,b\n1,2\n3\n4,5\n");
    files.put("d/whole.csv", b"a,b\n6,7\n");
    let (rows, notes) = files.ask("SELECT sum(a) AS s FROM 'd/*.csv'").await.unwrap();
    assert_eq!(rows, ["11"]);
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].contains("left out of `d/ragged.csv`: 1 row that did not fit; the first: row 3, `3`"),
        "{notes:?}"
    );
    let twice = "SELECT count(*) AS n FROM 'd/ragged.csv' x JOIN 'd/ragged.csv' y ON x.a = y.a";
    let (_, notes) = files.ask(twice).await.unwrap();
    assert!(notes[0].contains(": 1 row that"), "a file that is read twice is counted once: {notes:?}");
    let limits = QueryLimits::new(files.project.scratch());
    let sql = "SELECT * FROM 'd/ragged.csv'";
    let description = describe_query(sql, &files.tables, &files.project.store, &limits).await.unwrap();
    assert_eq!((description.rows, description.notes.len()), (2, 1));
}

#[cfg(unix)]
#[tokio::test]
async fn links_that_fit_a_pattern_are_followed_as_an_import_follows_them() {
    use std::os::unix::fs::symlink;
    let files = Files::new().await;
    let at = |path: &str| files.project.path().join(path);
    files.put("d/1.csv", b"a\n1\n");
    files.put("e/far.csv", b"a\n7\n");
    files.put("only/x.txt", b"");
    symlink("1.csv", at("d/0.csv")).unwrap();
    symlink("../e/far.csv", at("d/2.csv")).unwrap();
    symlink("2.csv", at("d/3.csv")).unwrap();
    symlink("nowhere", at("d/4.csv")).unwrap();
    symlink("/etc/hosts", at("d/5.csv")).unwrap();
    symlink("nowhere", at("only/gone.csv")).unwrap();
    let (rows, notes) = files.ask("SELECT sum(a) AS s, count(*) AS n FROM 'd/*.csv'").await.unwrap();
    assert_eq!((rows, notes.len()), (vec!["8|2".to_owned()], 1), "{notes:?}");
    assert!(notes[0].starts_with("4 files left out: "), "{notes:?}");
    let error = files.ask("SELECT * FROM 'only/*.csv'").await.unwrap_err().to_string();
    assert!(error.contains("`only/gone.csv` (a symbolic link that leads nowhere)"), "{error}");
    let error = files.ask("SELECT * FROM 'd/5.csv'").await.unwrap_err().to_string();
    assert!(error.contains("`d/5.csv`") && error.contains("outside the project"), "{error}");
    assert_eq!(files.rows("SELECT a FROM 'd/0.csv'").await, ["1"], "a link that is named itself is followed");
}

#[tokio::test]
async fn a_value_that_comes_too_late_is_an_error() {
    let files = Files::new().await;
    files.put("late.csv", format!("a,b\n{}x,y\n", "1,2\n".repeat(1 << 18)).as_bytes());
    let error = files.ask("SELECT sum(a) AS s FROM 'late.csv'").await.unwrap_err();
    assert_eq!(error.code(), "ingest.sampled");
    assert!(
        error.to_string().contains("`late.csv`") && error.to_string().contains("row 262146, column `a`"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("import the file"));
    assert_eq!(files.rows("SELECT a FROM 'late.csv' LIMIT 2").await, ["1", "1"]);
}

#[tokio::test]
async fn errors_name_the_file() {
    let files = Files::new().await;
    let whole = files.parquet("SELECT value AS a, concat('text ', value) AS b FROM range(0, 100000)").await;
    files.put("p/1.parquet", &whole);
    files.put("p/2.parquet", &whole[..whole.len() / 2]);
    let mut torn = whole.clone();
    let middle = torn.len() / 3;
    torn[middle..middle + 4096].fill(0xa5);
    files.put("q/1.parquet", &whole);
    files.put("q/2.parquet", &torn);
    files.put("r/1.parquet", &whole);
    files.put("r/2.parquet", &files.parquet("SELECT 'x' AS a").await);
    files.put("text.parquet", b"this is no parquet");
    files.put("text.xlsx", b"this is no workbook");
    files.put("cut.arrow", b"ARROW1\0\0 and then nothing");
    files.put("cut.csv.gz", b"\x1f\x8b\x08\x00");
    files.put("open.csv", b"a,b\n1,\"x\n");
    files.put("latin.csv", b"a,b\n1,\xe9\n");
    for (path, name) in [
        ("p/2.parquet", "p/2.parquet"),
        ("p/*.parquet", "p/2.parquet"),
        ("q/*.parquet", "q/2.parquet"),
        ("r/*.parquet", "r/2.parquet"),
        ("text.parquet", "text.parquet"),
        ("text.xlsx", "text.xlsx"),
        ("cut.arrow", "cut.arrow"),
        ("cut.csv.gz", "cut.csv.gz"),
        ("open.csv", "open.csv"),
        ("latin.csv", "latin.csv"),
    ] {
        let error = files.ask(&format!("SELECT sum(a) AS s, max(b) AS m FROM '{path}'")).await.unwrap_err();
        assert!(error.to_string().contains(&format!("`{name}`")), "{path}: {error}");
        assert!(error.code() == "data.file" || error.code().starts_with("ingest."), "{path}: {error:?}");
    }
    let error = files.ask("SELECT * FROM 'r/*.parquet'").await.unwrap_err().to_string();
    assert!(error.contains("do not go together with those of the files before it"), "{error}");
    let error = files.ask("SELECT 1 / (a - a) AS z FROM 'p/1.parquet'").await.unwrap_err();
    assert_eq!(error.code(), "data.execution", "{error}");
}
