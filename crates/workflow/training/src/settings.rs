use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::TrainingError;

/// What to learn from a table, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    /// The column to predict: 0 or 1 in every row.
    pub target: String,
    /// The column that says `train`, `validation` or `test` in every row; without it every row is trained on, there
    /// is no early stopping, and the figures are those of the training part.
    #[serde(default)]
    pub split: Option<String>,
    /// Columns that are not features: keys, and what is kept for reports.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// The learning algorithm.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Its parameters.
    #[serde(default)]
    pub params: GradientBoostingParams,
}

/// A learning algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Decision trees, each fitted to the errors of those before it (Friedman 2001; second order as in Chen and
    /// Guestrin 2016, "XGBoost").
    #[default]
    GradientBoosting,
}

impl Algorithm {
    /// The spelling in the project file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GradientBoosting => "gradient_boosting",
        }
    }
}

/// Parameters of [`Algorithm::GradientBoosting`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradientBoostingParams {
    /// Most trees to grow, 1 to 10,000 (default 300); early stopping may keep fewer.
    pub trees: u32,
    /// How much of each tree's correction is taken, above 0 to 1 (default 0.05).
    pub learning_rate: f64,
    /// Most splits between the root and a leaf, 1 to 16 (default 6).
    pub depth: u32,
    /// Least sum of second derivatives in a leaf, 0 to 1,000,000 (default 5); for rows near probability p each row
    /// counts p(1 - p).
    pub min_child_weight: f64,
    /// Least loss reduction that a split must bring, 0 to 1,000,000 (default 0).
    pub min_gain: f64,
    /// Part of the rows that each tree sees, above 0 to 1 (default 1).
    pub subsample: f64,
    /// Part of the features that each tree sees, above 0 to 1 (default 1).
    pub feature_sample: f64,
    /// L2 penalty on leaf weights, 0 to 1,000,000 (default 1).
    pub l2: f64,
    /// Most bins of a feature's histogram, 2 to 4,096 (default 256).
    pub bins: u32,
    /// Seed of the samples (default 0).
    pub seed: u64,
    /// Stop after this many trees without a better log loss on the validation part, and keep the trees up to the
    /// best, 0 to 10,000 (default 30); 0 grows all trees.
    pub early_stopping_rounds: u32,
    /// Threads, 0 to 1,024 (default 0: as many as the process's pool has). The model does not depend on it.
    pub threads: u32,
}

impl Default for GradientBoostingParams {
    fn default() -> Self {
        Self {
            trees: 300,
            learning_rate: 0.05,
            depth: 6,
            min_child_weight: 5.0,
            min_gain: 0.0,
            subsample: 1.0,
            feature_sample: 1.0,
            l2: 1.0,
            bins: 256,
            seed: 0,
            early_stopping_rounds: 30,
            threads: 0,
        }
    }
}

impl TrainSettings {
    /// Settings for `target` with every default.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            split: None,
            ignore: Vec::new(),
            algorithm: Algorithm::default(),
            params: GradientBoostingParams::default(),
        }
    }

    /// Checks what can be checked without a table.
    ///
    /// # Errors
    /// [`TrainingError::Parameter`] naming the first setting that is out of its bounds.
    pub fn validate(&self) -> Result<(), TrainingError> {
        self.params.validate()?;
        if self.target.is_empty() {
            return Err(refused("target", "empty", "the name of a column"));
        }
        if self.split.as_ref() == Some(&self.target) {
            return Err(refused("split", "the target", "another column than the target"));
        }
        if self.split.is_none() && self.params.early_stopping_rounds > 0 {
            let given = self.params.early_stopping_rounds;
            return Err(refused("early_stopping_rounds", &given, "0, as no `split` column gives a validation part"));
        }
        Ok(())
    }

    /// Everything that the model depends on, as text for a run's parameters; the threads are not among it.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        let params = &self.params;
        let mut map = BTreeMap::from([
            ("algorithm".to_owned(), self.algorithm.as_str().to_owned()),
            ("target".to_owned(), self.target.clone()),
            ("trees".to_owned(), params.trees.to_string()),
            ("learning_rate".to_owned(), params.learning_rate.to_string()),
            ("depth".to_owned(), params.depth.to_string()),
            ("min_child_weight".to_owned(), params.min_child_weight.to_string()),
            ("min_gain".to_owned(), params.min_gain.to_string()),
            ("subsample".to_owned(), params.subsample.to_string()),
            ("feature_sample".to_owned(), params.feature_sample.to_string()),
            ("l2".to_owned(), params.l2.to_string()),
            ("bins".to_owned(), params.bins.to_string()),
            ("seed".to_owned(), params.seed.to_string()),
            ("early_stopping_rounds".to_owned(), params.early_stopping_rounds.to_string()),
        ]);
        if let Some(split) = &self.split {
            map.insert("split".to_owned(), split.clone());
        }
        if !self.ignore.is_empty() {
            map.insert("ignore".to_owned(), self.ignore.join(", "));
        }
        map
    }
}

impl GradientBoostingParams {
    fn validate(&self) -> Result<(), TrainingError> {
        whole("trees", self.trees, 1, 10_000, "a whole number from 1 to 10000")?;
        share("learning_rate", self.learning_rate)?;
        whole("depth", self.depth, 1, 16, "a whole number from 1 to 16")?;
        penalty("min_child_weight", self.min_child_weight)?;
        penalty("min_gain", self.min_gain)?;
        share("subsample", self.subsample)?;
        share("feature_sample", self.feature_sample)?;
        penalty("l2", self.l2)?;
        whole("bins", self.bins, 2, 4_096, "a whole number from 2 to 4096")?;
        whole("early_stopping_rounds", self.early_stopping_rounds, 0, 10_000, "a whole number from 0 to 10000")?;
        whole("threads", self.threads, 0, 1_024, "a whole number from 0 to 1024")
    }
}

fn refused(parameter: &'static str, value: &(impl ToString + ?Sized), expected: &'static str) -> TrainingError {
    TrainingError::Parameter { parameter, value: value.to_string(), expected }
}

fn whole(name: &'static str, value: u32, least: u32, most: u32, expected: &'static str) -> Result<(), TrainingError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(refused(name, &value, expected)) }
}

fn share(name: &'static str, value: f64) -> Result<(), TrainingError> {
    if value > 0.0 && value <= 1.0 { Ok(()) } else { Err(refused(name, &value, "a number above 0 and at most 1")) }
}

fn penalty(name: &'static str, value: f64) -> Result<(), TrainingError> {
    if (0.0..=1e6).contains(&value) { Ok(()) } else { Err(refused(name, &value, "a number from 0 to 1000000")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<TrainSettings, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_target_is_enough_and_the_rest_has_defaults() {
        let settings = parsed("target = 'late'").unwrap();
        assert_eq!(settings, TrainSettings::new("late"));
        let settings = parsed("target = 'late'\nsplit = 'split'\nparams = { trees = 7 }").unwrap();
        assert_eq!(settings.params, GradientBoostingParams { trees: 7, ..GradientBoostingParams::default() });
        settings.validate().unwrap();
    }

    #[test]
    fn unknown_keys_and_algorithms_are_refused() {
        assert!(parsed("target = 'late'\ntree = 7").is_err());
        assert!(parsed("target = 'late'\nparams = { tree = 7 }").is_err());
        assert!(parsed("target = 'late'\nalgorithm = 'magic'").is_err());
        assert!(parsed("split = 'split'").is_err());
    }

    #[test]
    fn each_bound_is_checked_by_name() {
        let cases = [
            ("trees", "0"),
            ("trees", "10001"),
            ("learning_rate", "0.0"),
            ("learning_rate", "nan"),
            ("depth", "17"),
            ("min_child_weight", "-1.0"),
            ("min_gain", "inf"),
            ("subsample", "1.5"),
            ("feature_sample", "0.0"),
            ("l2", "-0.5"),
            ("bins", "1"),
            ("early_stopping_rounds", "10001"),
            ("threads", "1025"),
        ];
        for (name, value) in cases {
            let settings = parsed(&format!("target = 'y'\nsplit = 's'\nparams = {{ {name} = {value} }}")).unwrap();
            let error = settings.validate().unwrap_err();
            assert!(
                matches!(error, TrainingError::Parameter { parameter, .. } if parameter == name),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn early_stopping_needs_a_split() {
        let mut settings = TrainSettings::new("late");
        assert!(settings.validate().is_err());
        settings.params.early_stopping_rounds = 0;
        settings.validate().unwrap();
        settings.split = Some("late".to_owned());
        assert!(settings.validate().is_err());
    }

    #[test]
    fn threads_are_no_parameter_of_the_model() {
        let mut settings = TrainSettings::new("late");
        let before = settings.parameters();
        settings.params.threads = 2;
        assert_eq!(settings.parameters(), before);
        settings.params.seed = 2;
        assert_ne!(settings.parameters(), before);
    }
}
