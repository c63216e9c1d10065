use std::process::ExitCode;

use arrow::array::RecordBatch;
use ropewalk_data::{QueryResult, TableDiff};

use crate::arguments::{Format, Shared};
use crate::failure::Ending;
use crate::output;

/// Says what is different between two versions of a table.
pub(super) fn told(shared: &Shared, diff: &TableDiff) -> Ending {
    if shared.output == Format::Json {
        output::json(diff);
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for column in &diff.columns_added {
        text.push_str(&format!("+ column {} ({})\n", column.name, column.data_type));
    }
    for column in &diff.columns_removed {
        text.push_str(&format!("- column {} ({})\n", column.name, column.data_type));
    }
    for column in &diff.columns_retyped {
        text.push_str(&format!("~ column {}: {} to {}\n", column.name, column.before, column.after));
    }
    text.push_str(&format!(
        "{} rows added, {} removed, {} changed, {} the same\n",
        diff.rows_added,
        diff.rows_removed,
        diff.rows_changed,
        diff.rows_same()
    ));
    for (column, rows) in &diff.changed_columns {
        text.push_str(&format!("  {rows} rows changed in {column}\n"));
    }
    for row in &diff.changed {
        let key: Vec<&str> = row.key.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
        let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned());
        let cells: Vec<String> = row
            .cells
            .iter()
            .map(|one| format!("{}: {} to {}", one.column, cell(&one.before), cell(&one.after)))
            .collect();
        text.push_str(&format!("  ~ {}: {}\n", key.join(", "), cells.join("; ")));
    }
    for (heading, rows) in [("added, some of them:", &diff.added), ("removed, some of them:", &diff.removed)] {
        if let Some(rows) = rows.as_ref().filter(|rows| rows.num_rows() > 0) {
            text.push_str(&format!("{heading}\n{}\n", table(rows)?));
        }
    }
    output::text(&text);
    Ok(ExitCode::SUCCESS)
}

fn table(rows: &RecordBatch) -> Result<String, ropewalk_data::DataError> {
    QueryResult { schema: rows.schema(), batches: vec![rows.clone()] }.format_table()
}
