use std::fmt::Write as _;
use std::process::ExitCode;

use arrow::array::RecordBatch;
use ropewalk_data::{QueryResult, TableDiff};
use ropewalk_types::counted;

use crate::arguments::{Format, Shared};
use crate::failure::Ending;
use crate::output::{self, printable};

/// Says what is different between two versions of a table.
pub(super) fn told(shared: &Shared, diff: &TableDiff) -> Ending {
    if shared.output == Format::Json {
        output::json(diff);
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for column in &diff.columns_added {
        let _ = writeln!(text, "+ column {} ({})", printable(&column.name), column.data_type);
    }
    for column in &diff.columns_removed {
        let _ = writeln!(text, "- column {} ({})", printable(&column.name), column.data_type);
    }
    for column in &diff.columns_retyped {
        let _ = writeln!(text, "~ column {}: {} to {}", printable(&column.name), column.before, column.after);
    }
    let _ = writeln!(
        text,
        "{} added, {} removed, {} changed, {} the same",
        counted(diff.rows_added, "row"),
        diff.rows_removed,
        diff.rows_changed,
        diff.rows_same()
    );
    for (column, rows) in &diff.changed_columns {
        let _ = writeln!(text, "  {} changed in {}", counted(*rows, "row"), printable(column));
    }
    for row in &diff.changed {
        let key: Vec<&str> = row.key.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
        let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned());
        let cells: Vec<String> = row
            .cells
            .iter()
            .map(|one| format!("{}: {} to {}", one.column, cell(&one.before), cell(&one.after)))
            .collect();
        let _ = writeln!(text, "  ~ {}: {}", printable(&key.join(", ")), printable(&cells.join("; ")));
    }
    for (heading, rows) in [("added, some of them:", &diff.added), ("removed, some of them:", &diff.removed)] {
        if let Some(rows) = rows.as_ref().filter(|rows| rows.num_rows() > 0) {
            let _ = writeln!(text, "{heading}\n{}", table(rows)?);
        }
    }
    output::text(&text);
    Ok(ExitCode::SUCCESS)
}

fn table(rows: &RecordBatch) -> Result<String, ropewalk_data::DataError> {
    QueryResult { schema: rows.schema(), batches: vec![rows.clone()] }.format_table()
}
