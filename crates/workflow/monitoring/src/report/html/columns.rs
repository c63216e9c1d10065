use maud::{Markup, html};

use super::{NAME, Tone, sentence, tag};
use crate::report::MonitoringReport;
use crate::report::distribution_chart;
use crate::report::format::{count, name, number, percent, statistic};
use crate::{ColumnDrift, ColumnKind, Test};

/// The meter is full at this multiple of the threshold; its mark stands at one third.
const FULL: f64 = 3.0;

/// The columns with the prediction before them, numbered: the number is the anchor of the column's card.
fn numbered(report: &MonitoringReport) -> impl Iterator<Item = (usize, bool, &ColumnDrift)> {
    let prediction = report.drift.prediction.iter().map(|column| (true, column));
    let columns = report.drift.columns.iter().map(|column| (false, column));
    prediction.chain(columns).enumerate().map(|(at, (prediction, column))| (at, prediction, column))
}

pub(super) fn table(report: &MonitoringReport) -> Markup {
    html! {
        section {
            h2 { "Drift by column" }
            p.quiet { "The most drifted first. The mark on a bar is what the statistic must reach to be drift; the bar ends at three times that." }
            div.card {
                table.wide {
                    thead {
                        tr {
                            th scope="col" { "column" }
                            th scope="col" { "test" }
                            th.n scope="col" { "statistic" }
                            th.n scope="col" { "needed" }
                            th scope="col" { "reach" }
                            th.n scope="col" { "PSI" }
                            th.n scope="col" { "missing" }
                            th scope="col" { "verdict" }
                        }
                    }
                    tbody {
                        @for (at, prediction, column) in numbered(report) { (row(at, prediction, column)) }
                        @for column in &report.drift.only_reference { (one_sided(column, "missing in the live rows")) }
                        @for column in &report.drift.only_live { (one_sided(column, "not in the reference")) }
                    }
                }
            }
        }
    }
}

fn row(at: usize, prediction: bool, column: &ColumnDrift) -> Markup {
    let needed = column.noise.unwrap_or(0.0).max(column.threshold);
    html! {
        tr {
            th scope="row" {
                a href=(format!("#column-{at}")) { bdi { (name(&column.column, NAME)) } }
                @if prediction { " " (tag(Tone::Plain, "prediction")) }
            }
            td data-label="test" { (column.test.describe()) }
            td.n data-label="statistic" { (statistic(column.statistic)) }
            td.n data-label="needed" { (statistic(Some(needed))) }
            td data-label="reach" { (meter(column)) }
            td.n data-label="PSI" { (statistic(column.psi)) }
            td.n data-label="missing" { (percent(column.reference.missing)) " → " (percent(column.live.missing)) }
            td.whole data-label="verdict" { (verdict(column)) }
        }
    }
}

fn one_sided(column: &str, what: &str) -> Markup {
    html! {
        tr {
            th scope="row" { bdi { (name(column, NAME)) } }
            td.whole colspan="6" data-label="test" { (what) }
            td.whole data-label="verdict" { (tag(Tone::Warn, "one side only")) }
        }
    }
}

fn meter(column: &ColumnDrift) -> Markup {
    html! {
        @if let Some(excess) = column.excess() {
            @let width = format!("width:{:.1}%", (excess / FULL).clamp(0.0, 1.0) * 100.0);
            span.meter role="img" aria-label=(format!("{excess:.2} times what is needed")) {
                i.over[column.values_drifted] style=(width) {}
                b {}
            }
        } @else { span.quiet { "–" } }
    }
}

fn verdict(column: &ColumnDrift) -> Markup {
    match (column.values_drifted, column.missing_drifted) {
        (true, true) => tag(Tone::Bad, "drift, missing too"),
        (true, false) => tag(Tone::Bad, "drift"),
        (false, true) => tag(Tone::Bad, "missing drift"),
        (false, false) if column.drifted => tag(Tone::Bad, "kind changed"),
        (false, false) if column.test == Test::NotRun => tag(Tone::Plain, "not run"),
        (false, false) => tag(Tone::Good, "steady"),
    }
}

pub(super) fn cards(report: &MonitoringReport) -> Markup {
    html! {
        section {
            h2 { "Distributions" }
            ul.legend {
                li { svg viewBox="0 0 20 12" aria-hidden="true" { rect.reference width="20" height="12" {} } "reference: " (name(&report.reference.name, NAME)) }
                li {
                    svg viewBox="0 0 20 12" aria-hidden="true" { rect.live y="3" width="20" height="6" {} } "live"
                    @if let Some(window) = report.window() { ": " (window) }
                }
            }
            div.cards { @for (at, prediction, column) in numbered(report) { (card(at, prediction, column)) } }
        }
    }
}

fn card(at: usize, prediction: bool, column: &ColumnDrift) -> Markup {
    let id = format!("column-{at}");
    html! {
        article.card id=(id) {
            div.head {
                h3 { bdi { (name(&column.column, NAME)) } @if prediction { " " (tag(Tone::Plain, "prediction")) } }
                (verdict(column))
            }
            @if let Some(chart) = distribution_chart::chart(&id, column) {
                (chart)
            } @else {
                p.quiet { "No distribution to draw." }
            }
            (figures(column))
            @for note in &column.notes { p.note.warn { (sentence(&name(note, 240))) } }
        }
    }
}

fn figures(column: &ColumnDrift) -> Markup {
    let (reference, live) = (&column.reference, &column.live);
    let plain = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    let whole = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), count);
    let mut rows = vec![
        ("rows with a value", count(reference.present), count(live.present)),
        ("missing", percent(reference.missing), percent(live.missing)),
    ];
    match column.kind {
        ColumnKind::Numeric => rows.extend([
            ("mean", plain(reference.mean), plain(live.mean)),
            ("standard deviation", plain(reference.standard_deviation), plain(live.standard_deviation)),
            ("least", plain(reference.minimum), plain(live.minimum)),
            ("greatest", plain(reference.maximum), plain(live.maximum)),
        ]),
        ColumnKind::Categorical => rows.push(("different values", whole(reference.distinct), whole(live.distinct))),
        ColumnKind::Other => {}
    }
    html! {
        table.pair {
            thead { tr { td {} th.n scope="col" { "reference" } th.n scope="col" { "live" } } }
            tbody { @for (label, left, right) in rows { tr { th scope="row" { (label) } td { (left) } td { (right) } } } }
        }
    }
}
