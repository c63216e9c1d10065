use std::fmt::Write;

use super::format::{count, name, percent, statistic};
use super::{MonitoringReport, date, moment};
use crate::{ColumnDrift, Measures, PeriodQuality, Quality, Test};

/// The widest line.
const WIDTH: usize = 100;
const COLUMN: usize = 22;

/// Writing to a `String` cannot fail, so that its result is not looked at.
macro_rules! line {
    ($text:expr, $($part:tt)*) => {{ let _ = writeln!($text, $($part)*); }};
}

pub(super) fn text(report: &MonitoringReport) -> String {
    let mut text = String::new();
    let title = format!("{} version {}", report.model, report.version);
    line!(text, "{}", name(&format!("{title}: {}", report.headline()), WIDTH));
    line!(
        text,
        "{}",
        name(&format!("reference  {}, {} rows", report.reference.name, count(report.reference.rows)), WIDTH)
    );
    line!(text, "live       {}", name(&report.live_words(), WIDTH - 11));
    drift(&mut text, report);
    if let Some(quality) = &report.quality {
        measured(&mut text, quality);
    }
    line!(text, "\nmade {} by Ropewalk {}", moment(report.generated_at), env!("CARGO_PKG_VERSION"));
    text
}

fn drift(text: &mut String, report: &MonitoringReport) {
    let drift = &report.drift;
    line!(text, "");
    line!(
        text,
        "{:COLUMN$} {:15} {:>9} {:>9} {:>7}  {:18} verdict",
        "column",
        "test",
        "statistic",
        "needed",
        "PSI",
        "missing ref → live"
    );
    line!(text, "{}", "─".repeat(WIDTH));
    for column in drift.prediction.iter().chain(&drift.columns) {
        line!(text, "{}", row(column, drift.prediction.as_ref() == Some(column)));
        for note in &column.notes {
            line!(text, "  {}", name(note, WIDTH - 2));
        }
    }
    for (names, where_to) in
        [(&drift.only_reference, "missing in the live rows"), (&drift.only_live, "not in the reference")]
    {
        for column in names {
            line!(text, "{:COLUMN$} {where_to}", name(column, COLUMN));
        }
    }
    let whole =
        if drift.dataset_drifted { "the table as a whole drifted" } else { "the table as a whole did not drift" };
    let (share, from) = (percent(drift.share), percent(drift.settings.dataset_share));
    line!(text, "{} of {} columns drifted ({share}): {whole} (from {from})", drift.drifted, drift.compared);
}

fn row(column: &ColumnDrift, prediction: bool) -> String {
    let label = if prediction { format!("{} (prediction)", column.column) } else { column.column.clone() };
    let missing = format!("{} → {}", percent(column.reference.missing), percent(column.live.missing));
    let verdict = match (column.values_drifted, column.missing_drifted) {
        (true, true) => "DRIFT+MISSING",
        (true, false) => "DRIFT",
        (false, true) => "MISSING DRIFT",
        (false, false) if column.drifted => "KIND CHANGED",
        (false, false) if column.test == Test::NotRun => "not run",
        (false, false) => "ok",
    };
    let needed = column.noise.unwrap_or(0.0).max(column.threshold);
    format!(
        "{:COLUMN$} {:15} {:>9} {:>9} {:>7}  {missing:18} {verdict}",
        name(&label, COLUMN),
        column.test.describe(),
        statistic(column.statistic),
        statistic(Some(needed)),
        statistic(column.psi),
    )
}

fn measured(text: &mut String, quality: &Quality) {
    line!(
        text,
        "\n{:10} {:>9} {:>9} {:>7}  {:15} {:>8} {:>8} {:>9} {:>6}  verdict",
        quality.settings.period.as_str(),
        "rows",
        "labelled",
        "AUC",
        "95 % interval",
        "log loss",
        "accuracy",
        "positive",
        "score"
    );
    line!(text, "{}", "─".repeat(WIDTH));
    for PeriodQuality { period, measures, status } in &quality.periods {
        line!(text, "{} {}", measures_row(period, measures), status.as_str());
    }
    line!(text, "{} {}", measures_row("all", &quality.overall), quality.status.as_str());
    if let Some(training) = quality.training {
        line!(
            text,
            "{:10} {:>9} {:>9} {:>7}  {:15} {:>8} {:>8} {:>9}",
            "training",
            "",
            "",
            statistic(training.auc),
            "",
            statistic(training.log_loss),
            statistic(training.accuracy),
            statistic(training.positive_rate)
        );
    }
    for reason in &quality.reasons {
        line!(text, "{}", name(reason, WIDTH));
    }
    if quality.refused > 0 {
        line!(text, "{} rows take no part: no score from 0 to 1, or no date", count(quality.refused));
    }
}

fn measures_row(label: &str, measures: &Measures) -> String {
    let interval = match measures.auc.and_then(|auc| auc.low.zip(auc.high)) {
        Some((low, high)) => format!("{low:.3} to {high:.3}"),
        None => "–".to_owned(),
    };
    format!(
        "{label:10} {:>9} {:>9} {:>7}  {interval:15} {:>8} {:>8} {:>9} {:>6} ",
        count(measures.rows),
        count(measures.labelled),
        statistic(measures.auc.map(|auc| auc.value)),
        statistic(measures.log_loss),
        statistic(measures.accuracy),
        statistic(measures.positive_rate),
        statistic(measures.mean_score_labelled),
    )
}

impl MonitoringReport {
    /// The window's dates, for captions; none where they are not known.
    pub(super) fn window(&self) -> Option<String> {
        Some(format!("{} – {}", date(self.live.from?), date(self.live.to?)))
    }
}
