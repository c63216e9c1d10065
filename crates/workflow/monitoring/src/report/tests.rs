use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use ropewalk_types::{Diagnose, ModelName, Timestamp};

use super::*;
use crate::{DriftSettings, Observation, Profile, QualitySettings, TrainingMetrics, compare, evaluate};

const HOSTILE: &str = "<script>alert('x')</script>\"\u{1b}[31m\u{202e}";
const OCTOBER: i64 = 1_380_585_600_000;

fn profile(shift: f64) -> Profile {
    let values = |shift: f64| (1..=3_000).map(move |i| (f64::from(i) * 0.618_033_988_749_894_9).fract() + shift);
    let texts = (1..=3_000).map(|i| if i % 3 == 0 { HOSTILE } else { "plain" });
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("temp", Arc::new(Float64Array::from_iter_values(values(shift)))),
        (HOSTILE, Arc::new(StringArray::from_iter_values(texts))),
        ("month", Arc::new(Float64Array::from_iter_values((1..=3_000).map(|i| f64::from(i % 12 + 1))))),
        ("score", Arc::new(Float64Array::from_iter_values(values(0.0)))),
    ];
    let mut profile = Profile::new();
    profile.update(&RecordBatch::try_from_iter(columns).expect("a batch")).expect("a good batch");
    profile
}

fn observations() -> Vec<Observation> {
    let observation = |i: u32| {
        let score = (f64::from(i) * 0.618_033_988_749_894_9).fract();
        let at = Timestamp(OCTOBER + i64::from(i % 90) * 86_400_000);
        Observation { at, score, label: (!i.is_multiple_of(7)).then_some(score + f64::from(i % 5) / 5.0 > 0.9) }
    };
    (1..=3_000).map(observation).collect()
}

fn report(with_quality: bool) -> MonitoringReport {
    let settings = DriftSettings { prediction: Some("score".to_owned()), ..DriftSettings::default() };
    let training = TrainingMetrics { auc: Some(0.9), ..TrainingMetrics::default() };
    let quality = evaluate(&observations(), Some(training), &QualitySettings::default()).expect("good settings");
    MonitoringReport {
        format: ReportFormat::V1,
        model: ModelName::new("flight <b>delays</b>".replace('/', "")).expect("a name"),
        version: 3,
        reference: ReferenceTable { name: HOSTILE.to_owned(), rows: 3_000 },
        live: LiveWindow { rows: 3_000, from: Some(Timestamp(OCTOBER)), to: Some(Timestamp(i64::MAX)) },
        drift: compare(&profile(0.0), &profile(0.5), &settings).expect("good settings"),
        quality: with_quality.then_some(quality),
        generated_at: Timestamp(OCTOBER),
    }
}

#[test]
fn json_reads_back_as_it_was() {
    for report in [report(true), report(false)] {
        let json = report.to_json().expect("json");
        assert!(json.starts_with(r#"{"format":"ropewalk.monitoring-report/1","model":"#));
        assert_eq!(MonitoringReport::from_json(&json).expect("reads"), report);
    }
    let other = report(false).to_json().expect("json").replace("report/1", "report/2");
    assert_eq!(MonitoringReport::from_json(&other).expect_err("another format").code(), "monitoring.format");
}

#[test]
fn the_page_runs_nothing_and_fetches_nothing() {
    let page = report(true).html();
    for forbidden in
        ["<script", "<b>delays", "src=", "url(", "@import", "http:", "https:", "javascript:", "\u{1b}", "\u{202e}"]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("&lt;script&gt;"));
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">") && page.ends_with("</html>"));
    assert!(page.len() < 200_000, "{}", page.len());
}

#[test]
fn the_page_shows_every_column_and_no_broken_number() {
    let page = report(true).html();
    assert_eq!(page.matches("<article").count(), 4);
    assert_eq!(page.matches("role=\"img\" viewBox").count(), 5);
    assert_eq!(page.matches("<desc").count(), 5);
    for broken in ["NaN", "inf", "Infinity"] {
        assert!(!page.replace("information", "").contains(broken), "{broken}");
    }
    assert!(report(false).html().contains("quality not measured"));
}

#[test]
fn ids_are_unique() {
    let page = report(true).html();
    let mut ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn the_terminal_has_a_hundred_columns() {
    let text = report(true).terminal();
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    assert!(
        text.contains("1 of 3 columns drifted (33.3 %): the table as a whole did not drift (from 50.0 %)"),
        "{text}"
    );
    assert!(text.contains("score (prediction)"));
    assert!(text.contains("2013-10"));
}

/// Relative luminance and contrast as WCAG 2.2 defines them.
fn contrast(one: &str, other: &str) -> f64 {
    let luminance = |colour: &str| {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).expect("hexadecimal")) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    };
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    (one / other).max(other / one)
}

#[test]
fn colours_can_be_read_in_light_and_dark() {
    let style = include_str!("style.css");
    let (light, dark) = style.split_once("prefers-color-scheme: dark").expect("two schemes");
    for scheme in [light, dark] {
        let colour = |name: &str| {
            let at = scheme.find(&format!("--{name}: #")).expect(name) + name.len() + 4;
            &scheme[at..at + 7]
        };
        for (text, ground) in [
            ("ink", "page"),
            ("ink", "card"),
            ("quiet", "page"),
            ("quiet", "card"),
            ("bad", "bad-soft"),
            ("good", "good-soft"),
            ("warn", "warn-soft"),
        ] {
            let found = contrast(colour(text), colour(ground));
            assert!(found >= 4.5, "{text} on {ground}: {found:.2}");
        }
        for shape in ["reference", "live", "training"] {
            let found = contrast(colour(shape), colour("card"));
            assert!(found >= 3.0, "{shape}: {found:.2}");
        }
    }
}
