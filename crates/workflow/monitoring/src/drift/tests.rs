use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, RecordBatch, StringArray};
use ropewalk_types::Diagnose;

use super::*;

/// The values of (0, 1), each part of the range at every time (multiples of the golden ratio), from `start`.
fn even(count: u32, start: u32) -> impl Iterator<Item = f64> {
    (start..start + count).map(|i| (f64::from(i) * 0.618_033_988_749_894_9).fract())
}

fn profile(columns: Vec<(&str, ArrayRef)>) -> Profile {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let mut profile = Profile::new();
    profile.update(&RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")).expect("a good batch");
    profile
}

fn numbers(name: &str, values: impl Iterator<Item = f64>) -> Profile {
    profile(vec![(name, Arc::new(Float64Array::from_iter_values(values)))])
}

fn texts(values: impl Iterator<Item = String>) -> Profile {
    profile(vec![("c", Arc::new(StringArray::from_iter_values(values)))])
}

fn only(reference: &Profile, live: &Profile) -> ColumnDrift {
    let mut report = compare(reference, live, &DriftSettings::default()).expect("good settings");
    assert_eq!(report.columns.len(), 1);
    report.columns.remove(0)
}

#[test]
fn a_shift_is_measured_in_deviations() {
    let reference = numbers("x", even(50_000, 1));
    let same = only(&reference, &numbers("x", even(20_000, 70_000)));
    assert!(!same.drifted && same.statistic.expect("run") < 0.02, "{same:?}");
    // A uniform distribution moved by 0.1 has moved by 0.1 / (1/√12) deviations.
    let moved = only(&reference, &numbers("x", even(20_000, 1).map(|x| x + 0.1)));
    assert!(moved.drifted && moved.values_drifted && !moved.missing_drifted);
    assert_eq!(moved.test, Test::WassersteinNormalized);
    assert!((moved.statistic.expect("run") - 0.1 * 12_f64.sqrt()).abs() < 0.01, "{moved:?}");
    assert!(moved.excess().expect("run") > 3.0);
}

#[test]
fn a_column_has_its_own_threshold() {
    let (reference, live) = (numbers("x", even(50_000, 1)), numbers("x", even(20_000, 1).map(|x| x + 0.1)));
    let own = ColumnSettings { threshold: Some(0.5) };
    let settings = DriftSettings { columns: [("x".to_owned(), own)].into(), ..DriftSettings::default() };
    let report = compare(&reference, &live, &settings).expect("good settings");
    assert!(!report.columns[0].drifted && !report.dataset_drifted);
    assert!((report.columns[0].threshold - 0.5).abs() < f64::EPSILON);
}

#[test]
fn few_rows_are_not_drift_by_chance() {
    // A shift of 0.14 deviations is within what chance does to 120 rows.
    let reference = numbers("x", even(50_000, 1));
    let few = only(&reference, &numbers("x", even(120, 1).map(|x| x + 0.04)));
    assert!(few.statistic.expect("run") > few.threshold);
    assert!(few.statistic < few.noise && !few.drifted, "{few:?}");
    let many = only(&reference, &numbers("x", even(12_000, 1).map(|x| x + 0.04)));
    assert!(many.drifted, "{many:?}");
}

#[test]
fn too_few_rows_are_said() {
    let few = only(&numbers("x", even(500, 1)), &numbers("x", even(99, 1).map(|x| x + 9.0)));
    assert_eq!((few.test, few.statistic, few.drifted, few.missing_z), (Test::NotRun, None, false, None));
    assert_eq!(few.notes, ["not run: 99 live rows with a value, at least 100 are needed"]);
    assert!(few.shares.is_some());
    let report = compare(&numbers("x", even(500, 1)), &numbers("x", even(99, 1)), &DriftSettings::default());
    assert_eq!(report.map(|report| (report.compared, report.columns.len())).ok(), Some((0, 1)));
}

#[test]
fn no_rows_at_all_are_said() {
    let empty = numbers("x", std::iter::empty());
    let column = only(&numbers("x", even(500, 1)), &empty);
    assert_eq!((column.test, column.drifted), (Test::NotRun, false));
    assert!(column.notes.iter().any(|note| note == "the live rows have no value"), "{:?}", column.notes);
}

#[test]
fn a_constant_reference_has_its_own_test() {
    let reference = numbers("x", std::iter::repeat_n(5.0, 1_000));
    let same = only(&reference, &numbers("x", std::iter::repeat_n(5.0, 500)));
    assert_eq!((same.test, same.statistic, same.drifted), (Test::JensenShannon, Some(0.0), false));
    let other = only(&reference, &numbers("x", std::iter::repeat_n(5.001, 500)));
    assert_eq!((other.statistic, other.drifted), (Some(1.0), true));
    assert_eq!(other.notes, ["the reference is always 5: compared is the share of rows with this value"]);
}

#[test]
fn categories_are_compared_by_their_shares() {
    let letters = |weights: &[(&str, usize)]| {
        texts(
            weights
                .iter()
                .flat_map(|(letter, rows)| std::iter::repeat_n((*letter).to_owned(), *rows))
                .collect::<Vec<_>>()
                .into_iter(),
        )
    };
    let reference = letters(&[("a", 5_000), ("b", 3_000), ("c", 2_000)]);
    let live = only(&reference, &letters(&[("a", 100), ("b", 300), ("c", 200), ("d", 400)]));
    // scipy.spatial.distance.jensenshannon([.5, .3, .2, 0], [.1, .3, .2, .4], 2)
    assert!((live.statistic.expect("run") - 0.552_261_960_943_802_2).abs() < 1e-12);
    assert!(live.drifted && live.test == Test::JensenShannon);
    assert_eq!(live.notes, ["values that the reference does not have: 1, in 400 live rows"]);
    let Some(Shares::Text { values, other_values, .. }) = live.shares else { panic!("{:?}", live.shares) };
    assert_eq!((values, other_values), (["a", "b", "c", "d"].map(str::to_owned).to_vec(), Some(0)));
}

#[test]
fn many_rare_categories_are_not_drift_by_chance() {
    // 400 even categories seen 3 or 2 times each: the distance is 0.1 and more although nothing changed.
    let reference = texts((0..100_000).map(|i| format!("v{}", i % 400)));
    let live = only(&reference, &texts((0..1_000).map(|i| format!("v{}", (i * i + 7 * i) % 400))));
    assert!(live.noise.expect("run") > 0.25, "{live:?}");
}

#[test]
fn missing_values_are_a_drift_of_their_own() {
    let holes = |every: u32| {
        let values = even(10_000, 1).zip(1..).map(move |(x, i)| if i % every == 0 { None } else { Some(x) });
        profile(vec![("x", Arc::new(values.collect::<Float64Array>()))])
    };
    let column = only(&holes(50), &holes(10));
    assert!(column.drifted && column.missing_drifted && !column.values_drifted, "{column:?}");
    assert!((column.reference.missing - 0.02).abs() < 1e-12 && (column.live.missing - 0.1).abs() < 1e-12);
    let same = only(&holes(50), &holes(40));
    assert!(!same.missing_drifted, "half a percent is no effect");
}

#[test]
fn a_silent_column_is_drift_by_its_missing_values() {
    let silent = profile(vec![("x", Arc::new(Float64Array::from(vec![None::<f64>; 500])))]);
    let column = only(&numbers("x", even(500, 1)), &silent);
    assert!(column.missing_drifted && column.drifted);
    assert_eq!(column.test, Test::NotRun);
}

#[test]
fn what_is_on_one_side_or_of_another_kind_is_listed() {
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![1; 200]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1"; 200]));
    let number: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 200]));
    let reference = profile(vec![("gone", number.clone()), ("turned", number.clone()), ("date", dates.clone())]);
    let live = profile(vec![("new", number), ("turned", text), ("date", dates)]);
    let report = compare(&reference, &live, &DriftSettings::default()).expect("good settings");
    assert_eq!((report.only_reference, report.only_live), (vec!["gone".to_owned()], vec!["new".to_owned()]));
    let turned = &report.columns[0];
    assert!(turned.column == "turned" && turned.drifted && turned.test == Test::NotRun);
    assert_eq!(turned.notes, ["numeric in the reference, categorical in the live rows"]);
    assert_eq!(report.columns[1].notes, ["values of the type Date32 are not compared"]);
}

#[test]
fn the_prediction_is_reported_apart() {
    let side = |shift: f64| {
        let of =
            |shift: f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(even(5_000, 1).map(|x| x + shift))) };
        profile(vec![("still", of(0.0)), ("moved", of(shift)), ("score", of(shift))])
    };
    let settings = DriftSettings { prediction: Some("score".to_owned()), ..DriftSettings::default() };
    let report = compare(&side(0.0), &side(1.0), &settings).expect("good settings");
    assert!(report.prediction.is_some_and(|score| score.drifted));
    assert_eq!((report.drifted, report.compared, report.dataset_drifted), (1, 2, true));
    assert_eq!(report.columns.iter().map(|c| c.column.as_str()).collect::<Vec<_>>(), ["moved", "still"]);
}

#[test]
fn shares_add_up_to_one() {
    let (reference, live) = (numbers("x", even(50_000, 1)), numbers("x", even(2_000, 1).map(|x| x * 3.0)));
    let Some(Shares::Range { edges, reference, live }) = only(&reference, &live).shares else { panic!("by range") };
    assert!(edges.is_sorted() && edges.len() == reference.len() + 1);
    for shares in [reference, live] {
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
    let months = numbers("x", (0..1_200).map(|i| f64::from(i % 12)));
    let Some(Shares::Number { values, .. }) = only(&months, &months).shares else { panic!("by number") };
    assert_eq!(values.len(), 12);
}

#[test]
fn settings_are_checked() {
    for settings in [
        DriftSettings { numeric_threshold: f64::NAN, ..DriftSettings::default() },
        DriftSettings { dataset_share: 1.5, ..DriftSettings::default() },
        DriftSettings {
            columns: [("x".to_owned(), ColumnSettings { threshold: Some(0.0) })].into(),
            ..DriftSettings::default()
        },
    ] {
        let error = compare(&Profile::new(), &Profile::new(), &settings).expect_err("out of range");
        assert_eq!(error.code(), "monitoring.setting");
    }
    assert!(serde_json::from_str::<DriftSettings>(r#"{"numeric_treshold": 0.2}"#).is_err());
    let read: DriftSettings = serde_json::from_str(r#"{"minimum_rows": 30}"#).expect("a part of the settings");
    assert_eq!(read, DriftSettings { minimum_rows: 30, ..DriftSettings::default() });
}
