use super::fixture::{Project, Put, raw_workbook, workbook, zip};
use crate::{IngestError, SheetName, Sheets};

#[tokio::test]
async fn headers_that_are_empty_or_equal() {
    let project = Project::new().await;
    let book = workbook(&[
        &[Put::Nothing],
        &[Put::Text("id"), Put::Nothing, Put::Text("id"), Put::Number(2013.0)],
        &[Put::Number(1.0), Put::Text("a"), Put::Number(2.0), Put::Nothing, Put::Truth(true)],
    ]);
    let made = project.ingest("b.xlsx", &book).await.unwrap();
    let names: Vec<_> = made.report.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "column_2", "id_2", "2013", "column_5"]);
    assert_eq!(project.rows(&made.tree).await, ["1|a|2||true"]);
    let notes = made.report.files[0].notes.join("\n");
    assert!(notes.contains("two columns are called `id`") && notes.contains("column 5 has no name"), "{notes}");
    assert_eq!(made.report.columns[3].notes, ["no row has a value"]);
}

#[tokio::test]
async fn the_date_system_of_1904() {
    let project = Project::new().await;
    let sheet =
        r#"<row r="1"><c r="A1" t="str"><v>day</v></c></row><row r="2"><c r="A2" s="1"><v>39813.5</v></c></row>"#;
    for (date1904, shown) in [(true, "2013-01-01T12:00:00"), (false, "2008-12-31T12:00:00")] {
        let made = project.ingest("b.xlsx", &raw_workbook(sheet, date1904)).await.unwrap();
        assert_eq!(project.rows(&made.tree).await, [shown]);
    }
}

#[tokio::test]
async fn rows_out_of_order_are_an_error() {
    let project = Project::new().await;
    let cell = |place: &str| format!(r#"<c r="{place}"><v>1</v></c>"#);
    let sheet = format!("<row>{}</row><row>{}</row><row>{}</row>", cell("A1"), cell("A5"), cell("A3"));
    let error = project.ingest("b.xlsx", &raw_workbook(&sheet, false)).await.unwrap_err().to_string();
    assert!(error.contains("row 3 comes after a later one (row 5)"), "{error}");
    let sheet = format!("<row>{}</row><row>{}{}</row>", cell("A1"), cell("A2"), cell("A2"));
    let error = project.ingest("b.xlsx", &raw_workbook(&sheet, false)).await.unwrap_err().to_string();
    assert!(error.contains("written twice"), "{error}");
}

#[tokio::test]
async fn sheets_are_chosen_by_name() {
    let mut book = rust_xlsxwriter::Workbook::new();
    for (name, value) in [("hidden", 1.0), ("first", 2.0), ("second", 3.0)] {
        let sheet = book.add_worksheet().set_name(name).unwrap();
        sheet.write_string(0, 0, "a").unwrap();
        sheet.write_number(1, 0, value).unwrap();
    }
    book.worksheet_from_name("first").unwrap().set_active(true);
    book.worksheet_from_name("hidden").unwrap().set_hidden(true);
    let bytes = book.save_to_buffer().unwrap();
    let project = Project::new().await;
    let mut settings = project.settings("b.xlsx", &bytes);
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["2"]);
    assert_eq!(made.report.files[0].notes, ["sheets not read: `hidden`, `second`"]);
    settings.sheets = Sheets::Chosen(vec![SheetName::Name("second".to_owned())]);
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["3"]);
    settings.sheets = Sheets::Chosen(vec![SheetName::Name("third".to_owned())]);
    let error = project.run(&settings).await.unwrap_err().to_string();
    assert!(error.contains("no sheet `third`") && error.contains("`second`"), "{error}");
}

#[tokio::test]
async fn sheets_without_rows() {
    let project = Project::new().await;
    let error = project.ingest("b.xlsx", &workbook(&[])).await.unwrap_err();
    assert!(matches!(error, IngestError::Empty { .. }), "{error}");
    let made = project.ingest("b.xlsx", &workbook(&[&[Put::Text("a")]])).await.unwrap();
    assert_eq!((made.report.rows, made.report.columns.len()), (0, 1));
    assert!(project.rows(&made.tree).await.is_empty());
}

#[tokio::test]
async fn texts_that_are_not_utf8() {
    let project = Project::new().await;
    let error = project.ingest("a.csv", b"name\ncaf\xe9\n").await.unwrap_err().to_string();
    assert!(error.contains("`a.csv`") && error.contains("byte 8, on line 2"), "{error}");
}

#[tokio::test]
async fn open_document_sheets() {
    let content = concat!(
        r#"<?xml version="1.0"?><office:document-content "#,
        r#"xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" "#,
        r#"xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" "#,
        r#"xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>"#,
        r#"<table:table table:name="data"><table:table-row>"#,
        r#"<table:table-cell office:value-type="string"><text:p>id</text:p></table:table-cell>"#,
        r#"<table:table-cell office:value-type="string"><text:p>day</text:p></table:table-cell></table:table-row>"#,
        r#"<table:table-row><table:table-cell office:value-type="float" office:value="4"><text:p>4</text:p></table:table-cell>"#,
        r#"<table:table-cell office:value-type="date" office:date-value="2013-05-01"><text:p>1 May</text:p></table:table-cell>"#,
        r#"</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>"#
    );
    let bytes = zip(&[
        ("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"),
        (
            "META-INF/manifest.xml",
            br#"<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>"#,
        ),
        ("content.xml", content.as_bytes()),
    ]);
    let project = Project::new().await;
    let made = project.ingest("b.ods", &bytes).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["4|2013-05-01"]);
    assert_eq!(made.report.columns[1].data_type, "date");
}

#[tokio::test]
async fn a_missing_source_says_its_path() {
    let project = Project::new().await;
    let error = project.run(&crate::IngestSettings::new("no.zip", project.scratch())).await.unwrap_err().to_string();
    assert!(error.contains("no.zip"), "{error}");
}
