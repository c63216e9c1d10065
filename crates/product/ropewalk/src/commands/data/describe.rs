use std::process::ExitCode;

use ropewalk_data::{ColumnDescription, Description, Distinct, Quantiles};
use ropewalk_types::counted;
use serde_json::Value;

use crate::arguments::{DataSpec, Format, Shared};
use crate::failure::Ending;
use crate::output::printable;
use crate::{commands, output, terminal};

/// The heights of a histogram's bars.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Frequent values that are named.
const NAMED: usize = 3;

pub(super) async fn run(shared: &Shared, dataset: Option<&DataSpec>, file: Option<&str>) -> Ending {
    let project = commands::open(shared).await?;
    let (what, description) = match (dataset, file) {
        (Some(dataset), _) => {
            let description = project.describe(&dataset.name, dataset.version()).await?;
            (format!("{} {}", dataset.name, dataset.version()), description)
        }
        (None, file) => {
            let file = file.unwrap_or_default();
            (printable(file), project.describe_files(file).await?)
        }
    };
    project.close().await;
    for note in &description.notes {
        terminal::say(&printable(note));
    }
    if shared.output == Format::Json {
        output::json(&description);
        return Ok(ExitCode::SUCCESS);
    }
    let Description { rows, columns, .. } = &description;
    let (rows, of_columns) = (counted(*rows, "row"), counted(columns.len() as u64, "column"));
    output::text(&format!("{what}: {rows}, {of_columns}\n\n"));
    let headings = ["COLUMN", "TYPE", "NULLS", "DISTINCT", "MIN", "MEDIAN", "MEAN", "MAX", "DISTRIBUTION"];
    output::listing(Format::Text, columns, &headings, |column| {
        vec![
            column.name.clone(),
            column.data_type.clone(),
            column.nulls.to_string(),
            distinct(&column.distinct),
            end(column, column.min.as_ref()),
            column.quantiles.as_ref().map(median).unwrap_or_default(),
            shown(column.mean.as_ref()),
            end(column, column.max.as_ref()),
            distribution(column),
        ]
    });
    Ok(ExitCode::SUCCESS)
}

/// The smallest or the largest value: a number or a time as it is, of a text the beginning.
fn end(column: &ColumnDescription, value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) if column.histogram.is_none() => text.chars().take(24).collect(),
        value => shown(value),
    }
}

/// A median, or an estimate of one.
fn median(quantiles: &Quantiles) -> String {
    format!("{}{}", if quantiles.exact { "" } else { "~" }, shown(Some(&quantiles.q50)))
}

/// A figure, six digits of a float behind its point, a text without its quotes.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => format!("{float:.6}").trim_end_matches('0').trim_end_matches('.').to_owned(),
            None => number.to_string(),
        },
        Some(other) => other.to_string(),
    }
}

/// A count, or an estimate of one.
fn distinct(distinct: &Distinct) -> String {
    format!("{}{}", if distinct.exact { "" } else { "~" }, distinct.count)
}

/// Bars for numbers and times, the most frequent values for texts.
fn distribution(column: &ColumnDescription) -> String {
    if let Some(histogram) = &column.histogram {
        let highest = histogram.counts.iter().copied().max().unwrap_or(0).max(1);
        let bar = |count: &u64| match count * (BARS.len() as u64 - 1) / highest {
            0 if *count == 0 => ' ',
            height => BARS.get(height as usize).copied().unwrap_or('█'),
        };
        return histogram.counts.iter().map(bar).collect();
    }
    let Some(frequent) = &column.frequent else { return String::new() };
    let named = frequent.values.iter().take(NAMED);
    named.map(|(value, count)| format!("{value} {count}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_and_decimals_keep_every_digit() {
        for (value, text) in [
            (json!(u64::MAX), "18446744073709551615"),
            (json!(-7), "-7"),
            (json!(2.5), "2.5"),
            (json!(100.0), "100"),
            (json!("123456789012345678901234567890.12"), "123456789012345678901234567890.12"),
        ] {
            assert_eq!(shown(Some(&value)), text);
        }
    }

    #[test]
    fn an_estimated_median_is_marked() {
        let quantiles = |exact| Quantiles { q25: json!(1), q50: json!(2), q75: json!(3), exact };
        assert_eq!((median(&quantiles(true)), median(&quantiles(false))), ("2".to_owned(), "~2".to_owned()));
    }
}
