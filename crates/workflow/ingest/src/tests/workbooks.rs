//! Workbooks that other programs wrote: `tests/python/make_workbooks.py`.

use super::fixture::Project;
use crate::{IngestError, SheetName, Sheets};

const BOOKS: [(&str, &[u8]); 3] = [
    ("table.xls", include_bytes!("workbooks/table.xls")),
    ("table.ods", include_bytes!("workbooks/table.ods")),
    ("table.xlsb", include_bytes!("workbooks/table.xlsb")),
];

#[tokio::test]
async fn one_table_in_every_format() {
    let project = Project::new().await;
    for (name, bytes) in BOOKS {
        let made = project.ingest(name, bytes).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let columns = made.report.columns.iter().map(|column| format!("{}:{}", column.name, column.data_type));
        let columns: Vec<_> = columns.collect();
        assert_eq!(
            columns,
            ["id:int64", "name:text", "price:float64", "at:timestamp", "ok:boolean", "note:text"],
            "{name}"
        );
        let rows = [
            "1|Zoë|1.5|2013-01-01T10:30:00|true|a",
            "2|Øre|2.0|2013-01-02T00:00:00|false|",
            "3|two\nlines|-0.25|2013-01-03T23:59:59|true|007",
        ];
        assert_eq!(project.rows(&made.tree).await, rows, "{name}");
        assert_eq!(made.report.files[0].notes, ["sheets not read: `other`"], "{name}");
    }
}

#[tokio::test]
async fn their_sheets_and_their_damage() {
    let project = Project::new().await;
    for (name, bytes) in BOOKS {
        let mut settings = project.settings(name, bytes);
        settings.sheets = Sheets::Chosen(vec![SheetName::Name("other".to_owned())]);
        let made = project.run(&settings).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(project.rows(&made.tree).await, ["9"], "{name}");
        settings.sheets = Sheets::Chosen(vec![SheetName::Name("none".to_owned())]);
        let error = project.run(&settings).await.unwrap_err().to_string();
        assert!(error.contains("it has no sheet `none`; its sheets are `data`, `other`"), "{name}: {error}");
        for end in [9, bytes.len() / 3, bytes.len() * 2 / 3] {
            let error = project.ingest(name, &bytes[..end]).await.unwrap_err();
            let told = matches!(error, IngestError::Table { .. } | IngestError::Archive { .. });
            assert!(told && error.to_string().contains(&format!("`{name}`")), "{name} {end}: {error:?}");
        }
    }
}
