use maud::{Markup, html};

use super::{Tone, interval, tag};
use crate::report::format::{count, statistic};
use crate::report::quality_chart;
use crate::{Measures, Quality, QualityStatus, TrainingMetrics};

pub(super) fn section(quality: &Quality) -> Markup {
    html! {
        section {
            h2 { "Quality where the truth is known" }
            p.quiet {
                (count(quality.overall.labelled)) " of " (count(quality.overall.rows)) " rows have a label by now."
                @if quality.refused > 0 {
                    " " (count(quality.refused)) " rows take no part: no score from 0 to 1, or no date."
                }
            }
            div.split {
                div.card {
                    @if let Some(chart) = quality_chart::chart(quality) {
                        (chart)
                        (legend(quality))
                    } @else {
                        p.quiet { "No " (quality.settings.period.as_str()) " has labels of both classes: there is no AUC to draw." }
                    }
                }
                div.card { (table(quality)) }
            }
        }
    }
}

fn legend(quality: &Quality) -> Markup {
    let degraded = quality.periods.iter().any(|period| period.status == QualityStatus::Degraded);
    html! {
        ul.legend aria-hidden="true" {
            li { svg viewBox="0 0 20 12" { circle.live cx="10" cy="6" r="4" {} } "AUC" }
            li { svg viewBox="0 0 20 12" { rect.band width="20" height="12" {} } "95 % interval" }
            @if quality.training.is_some_and(|training| training.auc.is_some()) {
                li { svg viewBox="0 0 20 12" { line.training x1="0" x2="20" y1="6" y2="6" {} } "at training" }
            }
            @if degraded {
                li { svg viewBox="0 0 20 12" { rect.degraded x="5.5" y="1.5" width="9" height="9" {} } "degraded" }
            }
        }
    }
}

fn table(quality: &Quality) -> Markup {
    html! {
        table.wide {
            thead {
                tr {
                    th scope="col" { (quality.settings.period.as_str()) }
                    @for head in ["labelled", "AUC", "log loss", "accuracy", "positive", "mean score"] {
                        th.n scope="col" { (head) }
                    }
                    th scope="col" { "verdict" }
                }
            }
            tbody {
                @for period in &quality.periods {
                    tr { (row(&period.period, &period.measures, period.status)) }
                }
                tr.total { (row("All", &quality.overall, quality.status)) }
                @if let Some(training) = &quality.training { tr { (training_row(training)) } }
            }
        }
    }
}

fn row(label: &str, measures: &Measures, status: QualityStatus) -> Markup {
    let auc = measures.auc;
    html! {
        th scope="row" { (label) }
        td.n data-label="labelled" { (count(measures.labelled)) }
        td.n data-label="AUC" title=(interval(auc.and_then(|auc| auc.low), auc.and_then(|auc| auc.high))) {
            (statistic(auc.map(|auc| auc.value)))
        }
        td.n data-label="log loss" { (statistic(measures.log_loss)) }
        td.n data-label="accuracy" { (statistic(measures.accuracy)) }
        td.n data-label="positive" { (statistic(measures.positive_rate)) }
        td.n data-label="mean score" { (statistic(measures.mean_score_labelled)) }
        td.whole data-label="verdict" { (tag(Tone::of_quality(status), status.as_str())) }
    }
}

fn training_row(training: &TrainingMetrics) -> Markup {
    html! {
        th scope="row" { "Training" }
        td.n data-label="labelled" { "–" }
        td.n data-label="AUC" { (statistic(training.auc)) }
        td.n data-label="log loss" { (statistic(training.log_loss)) }
        td.n data-label="accuracy" { (statistic(training.accuracy)) }
        td.n data-label="positive" { (statistic(training.positive_rate)) }
        td.n data-label="mean score" { "–" }
        td.whole data-label="verdict" { (tag(Tone::Plain, "reference")) }
    }
}
