use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::format::{count, name, percent};
use super::{MonitoringReport, moment};
use crate::{QualityStatus, Test};

mod columns;
mod footer;
mod quality;

const STYLE: &str = include_str!("style.css");
/// The longest foreign name that is written out.
const NAME: usize = 120;

pub(super) fn page(report: &MonitoringReport) -> String {
    let title = format!("{} version {}: monitoring", report.model, report.version);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // The page needs nothing from outside, and foreign text must not make it fetch something.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(report))
                main {
                    @if let Some(quality) = &report.quality { (quality::section(quality)) }
                    (columns::table(report))
                    (columns::cards(report))
                }
                (footer::footer(report))
            }
        }
    };
    page.into_string()
}

/// How a thing is to be seen: as the colour of a tag.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Warn,
    Bad,
    Plain,
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }

    const fn of_quality(status: QualityStatus) -> Self {
        match status {
            QualityStatus::Held => Self::Good,
            QualityStatus::Degraded => Self::Bad,
            QualityStatus::Unknown => Self::Plain,
        }
    }
}

fn header(report: &MonitoringReport) -> Markup {
    let quality = report.quality.as_ref().map(|quality| quality.status);
    let prediction = report.drift.prediction.as_ref().is_some_and(|column| column.drifted);
    let degraded = quality == Some(QualityStatus::Degraded);
    let (tone, word) = match (degraded || report.drift.dataset_drifted, report.drift.drifted > 0 || prediction) {
        (true, _) => (Tone::Bad, "Act"),
        (false, true) => (Tone::Warn, "Look"),
        (false, false) => (Tone::Good, "Fine"),
    };
    html! {
        header {
            h1 { (name(report.model.as_str(), NAME)) " " small { "version " (report.version) } }
            p.quiet {
                "Live " (report.live_words()) " against " (name(&report.reference.name, NAME))
                " (" (count(report.reference.rows)) " rows). Made " (moment(report.generated_at)) "."
            }
            div class=(format!("verdict {}", tone.class())) {
                (word) ": " (report.headline()) "."
                @if let Some(quality) = &report.quality {
                    @for reason in &quality.reasons { p { (sentence(reason)) } }
                }
            }
            (tiles(report))
        }
    }
}

fn tiles(report: &MonitoringReport) -> Markup {
    let drift = &report.drift;
    let not_run = drift.columns.iter().filter(|column| column.test == Test::NotRun).count();
    html! {
        dl.tiles {
            div {
                dt { "Columns that drifted" }
                dd.figure { (drift.drifted) " of " (drift.compared) }
                dd.quiet { (percent(drift.share)) "; the table drifts from " (percent(drift.settings.dataset_share)) }
            }
            @if let Some(prediction) = &drift.prediction {
                div {
                    dt { "Prediction" }
                    dd.figure { (if prediction.drifted { "Drifted" } else { "Steady" }) }
                    dd.quiet { (prediction.test.describe()) " " (super::format::statistic(prediction.statistic)) }
                }
            }
            @if let Some(auc) = report.quality.as_ref().and_then(|quality| quality.overall.auc) {
                div {
                    dt { "AUC, live" }
                    dd.figure { (format!("{:.3}", auc.value)) }
                    dd.quiet { (interval(auc.low, auc.high)) }
                }
            }
            div {
                dt { "Not compared" }
                dd.figure { (not_run + drift.only_reference.len() + drift.only_live.len()) }
                dd.quiet { (not_run) " without a test, " (drift.only_reference.len() + drift.only_live.len()) " on one side only" }
            }
        }
    }
}

fn interval(low: Option<f64>, high: Option<f64>) -> String {
    low.zip(high).map_or_else(|| "no interval".to_owned(), |(low, high)| format!("95 % interval {low:.3} to {high:.3}"))
}

fn tag(tone: Tone, text: &str) -> Markup {
    html! { span class=(format!("tag {}", tone.class())) { (text) } }
}

/// A clause as a sentence.
fn sentence(clause: &str) -> String {
    let mut rest = clause.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", rest.as_str())
}
