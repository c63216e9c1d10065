use maud::{Markup, html};

use super::svg::{Scale, WIDTH, path, picture, place, rows};
use crate::{Auc, Quality, QualityStatus};

const LEFT: f64 = 44.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 186.0;
const HEIGHT: f64 = 212.0;
/// Room that a figure such as `0.712` needs.
const LABEL: f64 = 36.0;

struct Mark<'q> {
    period: &'q str,
    x: f64,
    auc: Auc,
    status: QualityStatus,
}

/// AUC by period with its confidence band and the line of training; none where no period has an AUC.
pub(super) fn chart(quality: &Quality) -> Option<Markup> {
    let room = (RIGHT - LEFT) / quality.periods.len().max(1) as f64;
    let marks: Vec<Mark<'_>> = quality
        .periods
        .iter()
        .enumerate()
        .filter_map(|(at, period)| {
            let x = LEFT + room * (at as f64 + 0.5);
            Some(Mark { period: &period.period, x, auc: period.measures.auc?, status: period.status })
        })
        .collect();
    if marks.is_empty() {
        return None;
    }
    let training = quality.training.and_then(|training| training.auc);
    let up = scale(&marks, training);
    let title = format!("AUC by {} with 95 % confidence intervals", quality.settings.period.as_str());
    let content = html! {
        (rows(up, &up.ticks(5), (LEFT, RIGHT), &|auc| format!("{auc:.2}")))
        polygon.band points=(path(&band(&marks, up))) {}
        @if let Some(auc) = training {
            line.training x1=(place(LEFT)) x2=(place(RIGHT)) y1=(place(up.at(auc))) y2=(place(up.at(auc))) {}
            text.axis x=(place(RIGHT)) y=(place(up.at(auc) - 5.0)) text-anchor="end" { "training " (format!("{auc:.3}")) }
        }
        polyline.live-line points=(path(&marks.iter().map(|mark| (mark.x, up.at(mark.auc.value))).collect::<Vec<_>>())) {}
        @for mark in &marks { (drawn(mark, up)) }
        @if room >= LABEL {
            @for mark in &marks {
                text.halo x=(place(mark.x)) y=(place(up.at(mark.auc.value) - 10.0)) text-anchor="middle" {
                    (format!("{:.3}", mark.auc.value))
                }
            }
        }
        @for (at, mark) in marks.iter().enumerate() {
            @if at % every(room) == 0 {
                text.axis x=(place(mark.x)) y=(place(BOTTOM + 18.0)) text-anchor="middle" { (mark.period) }
            }
        }
        line.base x1=(place(LEFT)) x2=(place(RIGHT)) y1=(place(BOTTOM)) y2=(place(BOTTOM)) {}
    };
    Some(picture("auc", HEIGHT, &title, &words(&marks, training), &content))
}

/// Labels such as `2013-10` are some 48 pixels wide.
fn every(room: f64) -> usize {
    (54.0 / room).ceil().max(1.0) as usize
}

fn scale(marks: &[Mark<'_>], training: Option<f64>) -> Scale {
    let ends =
        marks.iter().flat_map(|mark| [mark.auc.low.unwrap_or(mark.auc.value), mark.auc.high.unwrap_or(mark.auc.value)]);
    let (low, high) = ends.chain(training).fold((1.0_f64, 0.0_f64), |(low, high), auc| (low.min(auc), high.max(auc)));
    let margin = ((high - low) * 0.18).max(0.01);
    Scale { from: ((low - margin).max(0.0), (high + margin).min(1.0)), to: (BOTTOM, TOP) }
}

/// The band's outline: the upper ends there, the lower ends back.
fn band(marks: &[Mark<'_>], up: Scale) -> Vec<(f64, f64)> {
    let upper = marks.iter().map(|mark| (mark.x, up.at(mark.auc.high.unwrap_or(mark.auc.value))));
    let lower = marks.iter().rev().map(|mark| (mark.x, up.at(mark.auc.low.unwrap_or(mark.auc.value))));
    upper.chain(lower).collect()
}

fn drawn(mark: &Mark<'_>, up: Scale) -> Markup {
    let y = up.at(mark.auc.value);
    let whisker = mark.auc.low.zip(mark.auc.high).map(|(low, high)| (up.at(low), up.at(high)));
    html! {
        @if let Some((low, high)) = whisker {
            line.whisker x1=(place(mark.x)) x2=(place(mark.x)) y1=(place(low)) y2=(place(high)) {}
        }
        // A degraded period is a hollow square, so that it shows without colour.
        @if mark.status == QualityStatus::Degraded {
            rect.degraded x=(place(mark.x - 4.5)) y=(place(y - 4.5)) width="9" height="9" {}
        } @else {
            circle.live cx=(place(mark.x)) cy=(place(y)) r="4" {}
        }
    }
}

fn words(marks: &[Mark<'_>], training: Option<f64>) -> String {
    let marks = marks.iter().map(|mark| match mark.auc.low.zip(mark.auc.high) {
        Some((low, high)) => format!("{}: {:.3} ({low:.3} to {high:.3})", mark.period, mark.auc.value),
        None => format!("{}: {:.3}", mark.period, mark.auc.value),
    });
    let words = marks.collect::<Vec<_>>().join("; ");
    training.map_or_else(|| words.clone(), |auc| format!("Training {auc:.3}. {words}"))
}
