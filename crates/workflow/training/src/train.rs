use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use crate::boosting::{Fitted, Rows};
use crate::table::Table;
use crate::{
    Feature, Importance, Part, Progress, TrainSettings, Trained, TrainingError, boosting, check, encoding, export,
    metrics,
};

/// Trains a classifier on `table` and hands it out as a checked ONNX model with its figures.
///
/// The batches have the same columns; their rows are taken in order, and the same rows in the same order give the same
/// bytes, with any number of threads. Strings and numbers are features unless they are the target, the split or
/// ignored. `progress` hears of every tree.
///
/// # Errors
/// [`TrainingError`] naming the setting, or the column and row, that cannot be used;
/// [`TrainingError::Stopped`] if `progress` says so.
pub fn train(
    settings: &TrainSettings,
    table: &[RecordBatch],
    progress: &dyn Progress,
) -> Result<Trained, TrainingError> {
    settings.validate()?;
    let table = Table::read(settings, table)?;
    let features = encoding::learn(&table)?;
    let encoded = Encoded::of(&table, &features);

    let parts = [Part::Train, Part::Validation, Part::Test].map(|part| (part, table.rows(part)));
    let [(_, train), (_, validation), (_, test)] = &parts;
    let watched = (!validation.is_empty()).then(|| encoded.rows(validation));
    let fitted = boosting::fit(&settings.params, encoded.rows(train), watched, progress)?;

    let mut figures = BTreeMap::from([("trees_kept".to_owned(), fitted.ensemble.trees.len() as f64)]);
    for (part, rows) in &parts {
        figures.insert(format!("{part}_rows"), rows.len() as f64);
    }
    if !validation.is_empty() {
        let labels = table.labels_of(validation);
        measure(&mut figures, "validation_", &labels, &fitted.predict(encoded.rows(validation))?);
    }
    let (judged, prefix) = if test.is_empty() { (train, "train_") } else { (test, "") };
    let labels = table.labels_of(judged);
    let predictions = fitted.predict(encoded.rows(judged))?;
    measure(&mut figures, prefix, &labels, &predictions);

    let onnx = export::write(&fitted.ensemble, &features);
    let (signature, check) = check::compare(&onnx, &table, judged, &predictions)?;
    Ok(Trained {
        onnx,
        signature,
        params: settings.parameters(),
        metrics: figures,
        importances: importances(&fitted, &features),
        calibration: metrics::calibration(&labels, &predictions),
        history: fitted.history,
        features,
        check,
    })
}

/// The table as the trees see it.
struct Encoded<'a> {
    table: &'a Table,
    columns: Vec<Cow<'a, [f32]>>,
}

impl<'a> Encoded<'a> {
    fn of(table: &'a Table, features: &[Feature]) -> Self {
        let pairs = table.columns.iter().zip(features);
        Self { table, columns: pairs.map(|(column, feature)| encoding::encode(column, feature)).collect() }
    }

    fn rows(&self, rows: &[usize]) -> Rows {
        Rows {
            values: encoding::matrix(&self.columns, rows),
            labels: self.table.labels_of(rows),
            features: self.columns.len(),
        }
    }
}

fn measure(figures: &mut BTreeMap<String, f64>, prefix: &str, labels: &[bool], probabilities: &[f32]) {
    let bins = metrics::calibration(labels, probabilities);
    let found = [
        ("auc", metrics::auc(labels, probabilities)),
        ("log_loss", metrics::log_loss(labels, probabilities)),
        ("accuracy", metrics::accuracy(labels, probabilities)),
        ("brier_score", metrics::brier_score(labels, probabilities)),
        ("calibration_error", metrics::calibration_error(&bins)),
    ];
    figures.extend(found.map(|(name, value)| (format!("{prefix}{name}"), value)));
}

fn importances(fitted: &Fitted, features: &[Feature]) -> Vec<Importance> {
    let gains = fitted.ensemble.gains(features.len());
    let total: f64 = gains.iter().map(|(gain, _)| gain).sum();
    let share = |gain: f64| if total > 0.0 { gain / total } else { 0.0 };
    let pairs = features.iter().zip(gains);
    let mut importances: Vec<Importance> = pairs
        .map(|(feature, (gain, splits))| Importance { feature: feature.name.clone(), gain: share(gain), splits })
        .collect();
    // Stable: equal gains stay in the order of the columns.
    importances.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    importances
}
