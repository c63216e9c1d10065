use maud::{Markup, html};

use super::format::{name, number, percent};
use super::svg::{Scale, WIDTH, path, picture, place, rows};
use crate::{ColumnDrift, Shares};

const LEFT: f64 = 40.0;
const RIGHT: f64 = WIDTH - 8.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 150.0;
const HEIGHT: f64 = 172.0;

/// Both distributions of a column in one picture.
pub(super) fn chart(id: &str, column: &ColumnDrift) -> Option<Markup> {
    let title = format!("{}: distribution in the reference and live", name(&column.column, 120));
    Some(match column.shares.as_ref()? {
        Shares::Range { edges, reference, live } => {
            let description = range_words(edges, reference, live);
            picture(id, HEIGHT, &title, &description, &range(edges, reference, live))
        }
        Shares::Number { values, reference, live } => {
            let labels: Vec<String> = values.iter().map(|value| number(*value)).collect();
            let description = pair_words(&labels, reference, live);
            picture(id, HEIGHT, &title, &description, &pillars(&labels, reference, live))
        }
        Shares::Text { values, reference, live, other_values, other_reference, other_live } => {
            let mut labels = values.clone();
            let (mut reference, mut live) = (reference.clone(), live.clone());
            if *other_reference + *other_live > 0.0 {
                labels.push(other_values.map_or_else(|| "all other".to_owned(), |values| format!("{values} other")));
                reference.push(*other_reference);
                live.push(*other_live);
            }
            let description = pair_words(&labels, &reference, &live);
            let (content, height) = beams(&labels, &reference, &live, values.len());
            picture(id, height, &title, &description, &content)
        }
    })
}

fn greatest(shares: [&[f64]; 2]) -> f64 {
    shares.into_iter().flatten().copied().fold(0.0, f64::max).max(1e-6)
}

fn share_scale(shares: [&[f64]; 2]) -> Scale {
    Scale { from: (0.0, greatest(shares) * 1.05), to: (BOTTOM, TOP) }
}

fn share_axis(scale: Scale) -> Markup {
    let whole = scale.from.1 >= 0.05;
    let label = |share: f64| if whole { format!("{:.0} %", share * 100.0) } else { percent(share) };
    html! {
        (rows(scale, &scale.ticks(3), (LEFT, RIGHT), &label))
        line.base x1=(place(LEFT)) x2=(place(RIGHT)) y1=(place(BOTTOM)) y2=(place(BOTTOM)) {}
    }
}

/// Filled steps for the reference, a line for the live rows: told apart without colour too.
fn range(edges: &[f64], reference: &[f64], live: &[f64]) -> Markup {
    let ends = (edges.first().copied().unwrap_or(0.0), edges.last().copied().unwrap_or(1.0));
    let across = Scale { from: ends, to: (LEFT, RIGHT) };
    let up = share_scale([reference, live]);
    let steps = |shares: &[f64]| {
        let sides = |(pair, share): (&[f64], &f64)| match pair {
            [low, high] => vec![(across.at(*low), up.at(*share)), (across.at(*high), up.at(*share))],
            _ => Vec::new(),
        };
        edges.windows(2).zip(shares).flat_map(sides).collect::<Vec<_>>()
    };
    let mut area = vec![(LEFT, BOTTOM)];
    area.extend(steps(reference));
    area.push((RIGHT, BOTTOM));
    // Fewer ticks where their numbers are long.
    let long = across.ticks(5).into_iter().any(|tick| number(tick).chars().count() > 5);
    let ticks = across.ticks(if long { 3 } else { 5 });
    html! {
        (share_axis(up))
        polygon.reference points=(path(&area)) {}
        polyline.live-line points=(path(&steps(live))) {}
        @for tick in ticks {
            line.base x1=(place(across.at(tick))) x2=(place(across.at(tick))) y1=(place(BOTTOM)) y2=(place(BOTTOM + 4.0)) {}
            text.axis x=(place(across.at(tick))) y=(place(BOTTOM + 16.0)) text-anchor="middle" { (number(tick)) }
        }
    }
}

/// Upright pairs of bars, for numbers that are counted one by one.
fn pillars(labels: &[String], reference: &[f64], live: &[f64]) -> Markup {
    let up = share_scale([reference, live]);
    let room = (RIGHT - LEFT) / labels.len().max(1) as f64;
    let bar = (room * 0.4).min(26.0);
    // Labels of about 30 pixels; where there is less room, every other, or every fifth, is written.
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(1);
    let every = ((longest as f64 * 7.0 + 4.0) / room).ceil().max(1.0) as usize;
    html! {
        (share_axis(up))
        @for (at, ((label, reference), live)) in labels.iter().zip(reference).zip(live).enumerate() {
            @let middle = LEFT + room * (at as f64 + 0.5);
            rect.reference x=(place(middle - bar)) y=(place(up.at(*reference))) width=(place(bar)) height=(place(BOTTOM - up.at(*reference))) {}
            rect.live x=(place(middle)) y=(place(up.at(*live))) width=(place(bar)) height=(place(BOTTOM - up.at(*live))) {}
            @if at % every == 0 {
                text.axis x=(place(middle)) y=(place(BOTTOM + 16.0)) text-anchor="middle" { (label) }
            }
        }
    }
}

/// Lying pairs of bars with their names on the left: texts need room. What is left over has no bars, which would dwarf
/// the others. Returns the height too.
fn beams(labels: &[String], reference: &[f64], live: &[f64], bars: usize) -> (Markup, f64) {
    const ROW: f64 = 30.0;
    const NAMES: f64 = 104.0;
    let with_bars = [reference, live].map(|shares| shares.get(..bars).unwrap_or(shares));
    let across = Scale { from: (0.0, greatest(with_bars)), to: (NAMES, WIDTH - 52.0) };
    let end = |at: usize, share: f64| if at < bars { across.at(share) } else { NAMES };
    let content = html! {
        @for (at, ((label, reference), live)) in labels.iter().zip(reference).zip(live).enumerate() {
            @let y = 4.0 + ROW * at as f64;
            text.label x=(place(NAMES - 7.0)) y=(place(y + 17.0)) text-anchor="end" { (name(label, 15)) }
            rect.reference x=(place(NAMES)) y=(place(y + 2.0)) width=(place(end(at, *reference) - NAMES)) height="11" {}
            rect.live x=(place(NAMES)) y=(place(y + 14.0)) width=(place(end(at, *live) - NAMES)) height="11" {}
            text.value x=(place(end(at, *reference) + 5.0)) y=(place(y + 11.5)) { (percent(*reference)) }
            text.value x=(place(end(at, *live) + 5.0)) y=(place(y + 23.5)) { (percent(*live)) }
        }
        line.base x1=(place(NAMES)) x2=(place(NAMES)) y1="2" y2=(place(6.0 + ROW * labels.len() as f64)) {}
    };
    (content, 8.0 + ROW * labels.len() as f64)
}

fn range_words(edges: &[f64], reference: &[f64], live: &[f64]) -> String {
    let peak = |shares: &[f64]| {
        let at = shares.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at);
        let edge = |at: usize| edges.get(at).copied().map_or_else(String::new, number);
        format!("{} to {}", edge(at), edge(at + 1))
    };
    let bins = edges.len().saturating_sub(1);
    format!(
        "Histogram of {bins} bins. The reference is commonest at {}, the live rows at {}.",
        peak(reference),
        peak(live)
    )
}

fn pair_words(labels: &[String], reference: &[f64], live: &[f64]) -> String {
    let rows = labels.iter().zip(reference).zip(live);
    let words = rows.map(|((label, reference), live)| {
        format!("{}: {} then {}", name(label, 60), percent(*reference), percent(*live))
    });
    format!("Share in the reference, then live. {}", words.collect::<Vec<_>>().join("; "))
}
