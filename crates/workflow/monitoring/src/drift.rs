use serde::{Deserialize, Serialize};

use crate::MonitoringError;
use crate::profile::{Column, ColumnKind, Profile};

mod categorical;
mod numeric;
mod settings;
mod shares;
mod statistics;

pub use settings::{ColumnSettings, DriftSettings};
pub use shares::Shares;
pub use statistics::{jensen_shannon, population_stability, two_proportion_z, wasserstein};

/// The test that decided on a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Wasserstein's distance, divided by the standard deviation of the reference.
    WassersteinNormalized,
    /// The Jensen-Shannon distance, to the base 2.
    JensenShannon,
    /// None: the note says why.
    NotRun,
}

impl Test {
    /// The test in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::WassersteinNormalized => "Wasserstein / σ",
            Self::JensenShannon => "Jensen-Shannon",
            Self::NotRun => "not run",
        }
    }
}

/// What is known of a column on one side, for people to compare.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Rows of the table.
    pub rows: u64,
    /// Rows with a value.
    pub present: u64,
    /// Share of rows without a value, 0 to 1.
    pub missing: f64,
    /// Mean, of a numeric column.
    pub mean: Option<f64>,
    /// Standard deviation, of a numeric column.
    pub standard_deviation: Option<f64>,
    /// Least value, of a numeric column.
    pub minimum: Option<f64>,
    /// Greatest value, of a numeric column.
    pub maximum: Option<f64>,
    /// Number of different values, of a categorical column where all are known.
    pub distinct: Option<u64>,
}

/// How one column moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnDrift {
    /// The column.
    pub column: String,
    /// Its kind in the reference.
    pub kind: ColumnKind,
    /// Whether the values, or the share of missing ones, or the kind drifted.
    pub drifted: bool,
    /// The test on the values.
    pub test: Test,
    /// Its statistic; none where it was not run.
    pub statistic: Option<f64>,
    /// The threshold that was set.
    pub threshold: f64,
    /// What chance alone could make of the statistic with so few rows. The values drifted where the statistic reaches
    /// the greater of `threshold` and `noise`.
    pub noise: Option<f64>,
    /// Population stability index, for those used to it; it decides nothing.
    pub psi: Option<f64>,
    /// Whether the values drifted, by the test.
    pub values_drifted: bool,
    /// Whether the share of missing values drifted.
    pub missing_drifted: bool,
    /// The z of the difference between the shares of missing values; none where too few rows were seen.
    pub missing_z: Option<f64>,
    /// The reference.
    pub reference: Figures,
    /// The live rows.
    pub live: Figures,
    /// Both distributions, for drawing.
    pub shares: Option<Shares>,
    /// What a reader must know: why a test was not run, what was left out.
    pub notes: Vec<String>,
}

impl ColumnDrift {
    /// The statistic as a multiple of what it must reach to be drift: 1 and more is drift.
    pub fn excess(&self) -> Option<f64> {
        let needed = self.noise.unwrap_or(0.0).max(self.threshold);
        self.statistic.map(|statistic| if needed > 0.0 { statistic / needed } else { f64::INFINITY })
    }
}

/// Drift of a table, column by column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftReport {
    /// Whether `share` reaches `dataset_share` of the settings.
    pub dataset_drifted: bool,
    /// Share of the compared columns that drifted, 0 to 1; 0 where none was compared.
    pub share: f64,
    /// Number of columns that drifted, the prediction apart.
    pub drifted: usize,
    /// Number of columns that were compared, the prediction apart.
    pub compared: usize,
    /// The column of predictions, where one was named.
    pub prediction: Option<ColumnDrift>,
    /// The columns on both sides, the most drifted first; those not compared come last.
    pub columns: Vec<ColumnDrift>,
    /// Columns that live rows lack.
    pub only_reference: Vec<String>,
    /// Columns that the reference lacks.
    pub only_live: Vec<String>,
    /// The settings that were used.
    pub settings: DriftSettings,
}

/// Compares live rows with a reference, column by column.
///
/// Numeric columns: Wasserstein's distance over the reference's standard deviation. Categorical columns: the
/// Jensen-Shannon distance. Both against the thresholds of Evidently 0.7 for large references, but never below what
/// chance alone could make with so few rows. Missing values are tested on their own, because leaving them out of a
/// distribution hides that a sensor fell silent.
pub fn compare(reference: &Profile, live: &Profile, settings: &DriftSettings) -> Result<DriftReport, MonitoringError> {
    settings.check()?;
    let mut columns = Vec::new();
    let mut only_reference = Vec::new();
    for (name, column) in reference.columns() {
        match live.column(name) {
            Some(other) => columns.push(compare_column(name, (reference, column), (live, other), settings)),
            None => only_reference.push(name.to_owned()),
        }
    }
    let only_live = live.columns().map(|(name, _)| name).filter(|name| reference.column(name).is_none());
    let only_live = only_live.map(str::to_owned).collect();
    let at = columns.iter().position(|column| settings.prediction.as_ref() == Some(&column.column));
    let prediction = at.map(|at| columns.remove(at));
    columns.sort_by(|a, b| order(b).partial_cmp(&order(a)).unwrap_or(std::cmp::Ordering::Equal));
    let compared = columns.iter().filter(|column| was_compared(column)).count();
    let drifted = columns.iter().filter(|column| column.drifted).count();
    let share = if compared == 0 { 0.0 } else { drifted as f64 / compared as f64 };
    Ok(DriftReport {
        dataset_drifted: drifted > 0 && share >= settings.dataset_share,
        share,
        drifted,
        compared,
        prediction,
        columns,
        only_reference,
        only_live,
        settings: settings.clone(),
    })
}

fn was_compared(column: &ColumnDrift) -> bool {
    column.test != Test::NotRun || column.missing_z.is_some() || column.drifted
}

/// Drifted columns first, then by how far the statistic is from its threshold.
fn order(column: &ColumnDrift) -> (bool, f64) {
    (column.drifted, column.excess().unwrap_or(-1.0))
}

/// The decision of a test on the values of a column.
struct Outcome {
    test: Test,
    statistic: Option<f64>,
    noise: Option<f64>,
    psi: Option<f64>,
    shares: Option<Shares>,
    notes: Vec<String>,
}

impl Outcome {
    fn not_run(why: String) -> Self {
        Self { test: Test::NotRun, statistic: None, noise: None, psi: None, shares: None, notes: vec![why] }
    }
}

fn compare_column(
    name: &str,
    (reference, column): (&Profile, &Column),
    (live, other): (&Profile, &Column),
    settings: &DriftSettings,
) -> ColumnDrift {
    let threshold = settings.threshold(name, column.kind());
    let kind_changed = column.kind() != other.kind() && !column.is_undecided() && !other.is_undecided();
    let outcome = if kind_changed {
        Outcome::not_run(format!(
            "{} in the reference, {} in the live rows",
            column.kind().as_str(),
            other.kind().as_str()
        ))
    } else {
        test_values(column, other, settings.minimum_rows)
    };
    let (left, right) = (figures(reference, column), figures(live, other));
    let missing = missing_drift(&left, &right, settings);
    let values_drifted = outcome
        .statistic
        .is_some_and(|statistic| statistic >= threshold && outcome.noise.is_none_or(|noise| statistic >= noise));
    let missing_drifted = missing.is_some_and(|(_, drifted)| drifted);
    ColumnDrift {
        column: name.to_owned(),
        kind: column.kind(),
        drifted: values_drifted || missing_drifted || kind_changed,
        test: outcome.test,
        statistic: outcome.statistic,
        threshold,
        noise: outcome.noise,
        psi: outcome.psi,
        values_drifted,
        missing_drifted,
        missing_z: missing.map(|(z, _)| z),
        reference: left,
        live: right,
        shares: outcome.shares,
        notes: outcome.notes,
    }
}

fn test_values(reference: &Column, live: &Column, minimum_rows: u64) -> Outcome {
    let mut outcome = match (reference, live) {
        (Column::Numeric(reference), Column::Numeric(live)) => numeric::compare(&reference.summary(), &live.summary()),
        (Column::Categorical(reference), Column::Categorical(live)) => {
            categorical::compare(&reference.summary(), &live.summary())
        }
        (Column::Other { data_type, .. }, _) => {
            return Outcome::not_run(format!("values of the type {data_type} are not compared"));
        }
        (_, _) => return Outcome::not_run("the live rows have no value".to_owned()),
    };
    for (side, column) in [("reference", reference), ("live", live)] {
        let rows = column.present();
        if rows < minimum_rows {
            let why = format!("not run: {rows} {side} rows with a value, at least {minimum_rows} are needed");
            outcome = Outcome { test: Test::NotRun, statistic: None, noise: None, ..outcome };
            outcome.notes.insert(0, why);
        }
    }
    outcome
}

fn figures(profile: &Profile, column: &Column) -> Figures {
    let (rows, present) = (profile.rows(), column.present());
    let missing = if rows == 0 { 0.0 } else { rows.saturating_sub(present) as f64 / rows as f64 };
    let plain = Figures { rows, present, missing, ..Figures::default() };
    match (column.numeric(), column.categorical()) {
        (Some(numbers), _) => Figures {
            mean: numbers.mean(),
            standard_deviation: numbers.standard_deviation(),
            minimum: numbers.minimum(),
            maximum: numbers.maximum(),
            ..plain
        },
        (_, Some(values)) => Figures { distinct: values.is_exact().then_some(values.values().len() as u64), ..plain },
        _ => plain,
    }
}

/// z of the difference and whether it is drift; none where a side has too few rows.
fn missing_drift(reference: &Figures, live: &Figures, settings: &DriftSettings) -> Option<(f64, bool)> {
    if reference.rows.min(live.rows) < settings.minimum_rows.max(1) {
        return None;
    }
    let z =
        two_proportion_z((reference.rows - reference.present, reference.rows), (live.rows - live.present, live.rows));
    let effect = (live.missing - reference.missing).abs();
    Some((z, effect >= settings.missing_effect && z.abs() >= settings.missing_z))
}

#[cfg(test)]
mod tests;
