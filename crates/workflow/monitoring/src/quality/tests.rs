use proptest::prelude::*;

use super::*;

const SCORES: [f64; 10] = [0.1, 0.4, 0.35, 0.8, 0.4, 0.7, 0.2, 0.9, 0.55, 0.4];
const LABELS: [bool; 10] = [false, false, true, true, true, false, false, true, true, false];

fn near(found: Option<f64>, wanted: f64) {
    assert!(found.is_some_and(|found| (found - wanted).abs() < 1e-12), "{found:?} is not {wanted}");
}

fn rows() -> Vec<(f64, bool)> {
    SCORES.into_iter().zip(LABELS).collect()
}

/// A day of 2013, as a moment.
fn day(of_year: i64) -> Timestamp {
    Timestamp(1_356_998_400_000 + (of_year - 1) * 86_400_000)
}

/// Rows whose label is positive where the `i`-th score is above a threshold that `noise` blurs.
fn observations(month: i64, count: u32, noise: f64) -> Vec<Observation> {
    (1..=count)
        .map(|i| {
            let score = (f64::from(i) * 0.618_033_988_749_894_9).fract();
            let blur = ((f64::from(i) * 0.754_877_666_246_692_7).fract() - 0.5) * noise;
            Observation { at: day(month * 30), score, label: Some(score + blur > 0.5) }
        })
        .collect()
}

#[test]
fn measures_are_scikit_learns() {
    let labelled: Vec<_> = rows().into_iter().map(|(score, label)| (score, Some(label))).collect();
    let measures = Measures::of(&labelled);
    // s, y = SCORES, LABELS; sklearn.metrics.roc_auc_score(y, s), log_loss(y, s), accuracy_score(y, s >= .5)
    near(measures.auc.map(|auc| auc.value), 0.76);
    near(measures.log_loss, 0.544_658_204_293_044_2);
    near(measures.accuracy, 0.7);
    near(measures.positive_rate, 0.5);
    near(measures.mean_score, 0.48);
    // (y - s).sum() / (s * (1 - s)).sum() ** .5
    near(measures.calibration_z, 0.144_904_711_200_443_57);
}

#[test]
fn the_interval_is_delongs() {
    let auc = area_under_curve(&rows()).expect("both classes");
    // p, n = s[y == 1], s[y == 0]; k = (p[:, None] > n) + .5 * (p[:, None] == n)
    // (k.mean(1).var(ddof=1) / len(p) + k.mean(0).var(ddof=1) / len(n)) ** .5 = 0.16186414056238646
    near(auc.low, 0.76 - 1.959_963_984_540_054 * 0.161_864_140_562_386_46);
    near(auc.high, 1.0);
}

#[test]
fn one_class_has_no_area() {
    assert_eq!(area_under_curve(&[(0.1, true), (0.2, true)]), None);
    assert_eq!(area_under_curve(&[]), None);
    assert_eq!(area_under_curve(&[(f64::NAN, true), (0.2, false)]), None);
    let two = area_under_curve(&[(0.9, true), (0.2, false)]).expect("both classes");
    assert_eq!(two, Auc { value: 1.0, low: None, high: None });
}

#[test]
fn certain_and_wrong_is_finite() {
    let measures = Measures::of(&[(0.0, Some(true)), (1.0, Some(false))]);
    assert!(measures.log_loss.is_some_and(|loss| loss.is_finite() && loss > 30.0));
    assert_eq!(measures.calibration_z, None);
}

#[test]
fn periods_are_months_in_order_and_labels_may_be_missing() {
    let mut all = observations(10, 300, 0.5);
    all.extend(observations(2, 200, 0.5));
    all.push(Observation { at: day(40), score: 0.5, label: None });
    all.push(Observation { at: day(40), score: f64::NAN, label: None });
    all.push(Observation { at: Timestamp(i64::MAX), score: 0.5, label: None });
    let quality = evaluate(&all, None, &QualitySettings::default()).expect("good settings");
    let found: Vec<_> =
        quality.periods.iter().map(|p| (p.period.as_str(), p.measures.rows, p.measures.labelled)).collect();
    assert_eq!(found, [("2013-02", 1, 0), ("2013-03", 200, 200), ("2013-10", 300, 300)]);
    assert_eq!((quality.overall.rows, quality.overall.labelled, quality.refused), (501, 500, 2));
    assert_eq!(quality.status, QualityStatus::Unknown);
    assert_eq!(quality.reasons, ["no AUC from training to compare with"]);
}

#[test]
fn days_and_weeks() {
    assert_eq!(PeriodKind::Day.period(day(365)).as_deref(), Some("2013-12-31"));
    // 2013-12-31 lies in the first ISO week of 2014.
    assert_eq!(PeriodKind::Week.period(day(365)).as_deref(), Some("2014-W01"));
    assert_eq!(PeriodKind::Month.period(Timestamp(i64::MIN)), None);
}

#[test]
fn a_drop_beyond_chance_is_degraded() {
    let settings = QualitySettings { calibration_tolerance: 1.0, ..QualitySettings::default() };
    let training = Some(TrainingMetrics { auc: Some(0.95), ..TrainingMetrics::default() });
    let good = evaluate(&observations(3, 2_000, 0.4), training, &settings).expect("good settings");
    assert_eq!(good.status, QualityStatus::Held, "{:?}", good.reasons);
    let bad = evaluate(&observations(3, 2_000, 3.0), training, &settings).expect("good settings");
    assert_eq!(bad.status, QualityStatus::Degraded, "{:?}", bad.reasons);
    let few = evaluate(&observations(3, 50, 3.0), training, &settings).expect("good settings");
    assert_eq!(few.reasons, ["50 labelled rows: at least 100 are needed to judge"]);
    assert_eq!(few.status, QualityStatus::Unknown);
}

#[test]
fn a_bad_last_month_is_not_averaged_away() {
    let settings = QualitySettings { calibration_tolerance: 1.0, ..QualitySettings::default() };
    let training = Some(TrainingMetrics { auc: Some(0.9), ..TrainingMetrics::default() });
    let mut all = observations(3, 20_000, 0.5);
    all.extend(observations(5, 1_000, 4.0));
    let quality = evaluate(&all, training, &settings).expect("good settings");
    assert_eq!(quality.status, QualityStatus::Degraded);
    assert!(quality.reasons[0].starts_with("in 2013-05: AUC"), "{:?}", quality.reasons);
}

#[test]
fn scores_that_promise_too_much_are_degraded() {
    let training = Some(TrainingMetrics { auc: Some(0.5), ..TrainingMetrics::default() });
    let mut rows = observations(3, 2_000, 0.5);
    for row in &mut rows {
        row.score = row.score.sqrt();
    }
    let quality = evaluate(&rows, training, &QualitySettings::default()).expect("good settings");
    assert_eq!(quality.status, QualityStatus::Degraded);
    assert!(quality.reasons.iter().any(|why| why.contains("no longer calibrated")), "{:?}", quality.reasons);
}

#[test]
fn settings_are_checked() {
    let settings = QualitySettings { auc_tolerance: -0.1, ..QualitySettings::default() };
    assert!(evaluate(&[], None, &settings).is_err());
}

proptest! {
    #[test]
    fn the_area_is_the_share_of_pairs_in_order(rows in prop::collection::vec((0..20_u8, any::<bool>()), 0..60)) {
        let rows: Vec<(f64, bool)> = rows.into_iter().map(|(score, label)| (f64::from(score), label)).collect();
        let mut pairs = 0.0;
        let mut ordered = 0.0;
        for (high, _) in rows.iter().filter(|(_, label)| *label) {
            for (low, _) in rows.iter().filter(|(_, label)| !*label) {
                pairs += 1.0;
                ordered += if high > low { 1.0 } else if high < low { 0.0 } else { 0.5 };
            }
        }
        match area_under_curve(&rows) {
            Some(auc) => prop_assert!((auc.value - ordered / pairs).abs() < 1e-12),
            None => prop_assert!(pairs < 1.0),
        }
    }
}
