//! What both kinds of charts share: scales, ticks and the shell of a picture.

use maud::{Markup, html};

/// All charts are this wide, about a phone's width, so that their text is never scaled down to nothing.
pub(super) const WIDTH: f64 = 360.0;

/// A straight map from values to positions.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) from: (f64, f64),
    pub(super) to: (f64, f64),
}

impl Scale {
    pub(super) fn at(self, value: f64) -> f64 {
        let span = self.from.1 - self.from.0;
        let share = if span > 0.0 { (value - self.from.0) / span } else { 0.5 };
        self.to.0 + share * (self.to.1 - self.to.0)
    }

    /// Round values inside the scale, about `wanted` of them: multiples of 1, 2 or 5 times a power of ten.
    pub(super) fn ticks(self, wanted: u32) -> Vec<f64> {
        let span = self.from.1 - self.from.0;
        if !(span > 0.0 && span.is_finite()) {
            return vec![self.from.0];
        }
        let rough = span / f64::from(wanted.max(1));
        let power = 10_f64.powf(rough.log10().floor());
        // The nearest of 1, 2, 5 and 10 by ratio: the bounds are √2, √10 and √50.
        let step = match rough / power {
            ratio if ratio < 1.414 => power,
            ratio if ratio < 3.162 => 2.0 * power,
            ratio if ratio < 7.071 => 5.0 * power,
            _ => 10.0 * power,
        };
        let first = (self.from.0 / step).ceil();
        // Counting in whole steps keeps 0.3 from becoming 0.30000000000000004.
        let in_range = |tick: &f64| *tick <= self.from.1 + step * 1e-9;
        (0..=2 * wanted).map(|i| (first + f64::from(i)) * step).take_while(in_range).collect()
    }
}

/// A picture with a title and a description for those who cannot see it. `id` must be unique in the page.
pub(super) fn picture(id: &str, height: f64, title: &str, description: &str, content: &Markup) -> Markup {
    let (title_id, description_id) = (format!("{id}-title"), format!("{id}-description"));
    html! {
        svg role="img" viewBox=(format!("0 0 {WIDTH} {height}")) aria-labelledby=(format!("{title_id} {description_id}")) {
            title id=(title_id) { (title) }
            desc id=(description_id) { (description) }
            (content)
        }
    }
}

/// A position with one decimal: a tenth of a pixel is enough and keeps pages small.
pub(super) fn place(value: f64) -> String {
    format!("{value:.1}")
}

/// Points as SVG writes them in a polygon or polyline.
pub(super) fn path(points: &[(f64, f64)]) -> String {
    points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
}

/// Horizontal grid lines with their labels on the left.
pub(super) fn rows(scale: Scale, ticks: &[f64], (left, right): (f64, f64), label: &dyn Fn(f64) -> String) -> Markup {
    html! {
        @for tick in ticks {
            @let y = scale.at(*tick);
            line.grid x1=(place(left)) x2=(place(right)) y1=(place(y)) y2=(place(y)) {}
            text.axis x=(place(left - 5.0)) y=(place(y + 3.5)) text-anchor="end" { (label(*tick)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let scale = Scale { from: (0.13, 0.97), to: (0.0, 100.0) };
        let found: Vec<String> = scale.ticks(4).iter().map(|tick| format!("{tick:.3}")).collect();
        assert_eq!(found, ["0.200", "0.400", "0.600", "0.800"]);
        assert_eq!(Scale { from: (5.0, 5.0), to: (0.0, 1.0) }.ticks(4), [5.0]);
        let wide = Scale { from: (-1e140, 1e140), to: (0.0, 1.0) }.ticks(5);
        assert!((3..=11).contains(&wide.len()) && wide.iter().all(|tick| tick.abs() <= 1e140));
    }
}
