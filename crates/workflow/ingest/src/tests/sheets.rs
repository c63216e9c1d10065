use super::fixture::{Project, Put, workbook};
use crate::{HeaderRow, SheetName, Sheets};

fn book(sheets: &[(&str, f64)]) -> Vec<u8> {
    let mut book = rust_xlsxwriter::Workbook::new();
    for (name, value) in sheets {
        let sheet = book.add_worksheet().set_name(*name).unwrap();
        sheet.write_string(0, 0, "a").unwrap();
        sheet.write_number(1, 0, *value).unwrap();
    }
    book.save_to_buffer().unwrap()
}

#[tokio::test]
async fn several_sheets_get_a_column() {
    let project = Project::new().await;
    let mut settings = project.settings("b.xlsx", &book(&[("one", 1.0), ("two", 2.0), ("three", 3.0)]));
    settings.sheets = Sheets::All;
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["one|1", "two|2", "three|3"]);
    assert_eq!(made.executed_pieces, 3);
    let again = project.run(&settings).await.unwrap();
    assert_eq!((again.reused_pieces, again.tree), (3, made.tree));
    settings.sheets = Sheets::Chosen(vec![SheetName::Number(3), SheetName::Name("one".to_owned())]);
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["three|3", "one|1"]);
    assert_eq!(made.report.files[0].notes, ["sheets not read: `two`"]);
    settings.sheets = Sheets::Chosen(vec![SheetName::Number(2)]);
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["2"]);
    settings.sheets = Sheets::Chosen(vec![SheetName::Number(4)]);
    let error = project.run(&settings).await.unwrap_err().to_string();
    assert!(error.contains("no sheet number 4"), "{error}");
}

#[tokio::test]
async fn the_header_is_where_it_is_said_to_be() {
    let project = Project::new().await;
    let rows: [&[Put<'_>]; 4] = [
        &[Put::Text("Report of 2013")],
        &[Put::Nothing],
        &[Put::Text("id"), Put::Text("x")],
        &[Put::Number(1.0), Put::Number(2.0)],
    ];
    let mut settings = project.settings("b.xlsx", &workbook(&rows));
    settings.header = HeaderRow::Row(3);
    let made = project.run(&settings).await.unwrap();
    assert_eq!(made.report.columns[1].name, "x");
    assert_eq!(project.rows(&made.tree).await, ["1|2"]);
    assert_eq!(made.report.files[0].notes, ["what stands above the header was passed over"]);
    settings.header = HeaderRow::Row(2);
    let error = project.run(&settings).await.unwrap_err().to_string();
    assert!(error.contains("row 2 of sheet `data`, which is empty"), "{error}");
    let mut settings = project.settings("n.xlsx", &workbook(&rows[3..]));
    settings.header = HeaderRow::Absent;
    let made = project.run(&settings).await.unwrap();
    assert_eq!(made.report.columns[1].name, "column_2");
    assert_eq!(project.rows(&made.tree).await, ["1|2"]);
    assert!(made.report.files[0].notes.is_empty());
}
