use ropewalk_types::{ExperimentId, RunStatus, Timestamp};

use crate::testing::tracking;
use crate::{Batch, DEFAULT_EXPERIMENT, DatasetInput, Metric, NewRun, Param, Run, RunUpdate, Tag, Tracking};

/// Numbers that are the same on every run of a test (xorshift).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % end
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Few values, so that many runs share one: ties are what an order goes wrong by.
const VALUES: [f64; 8] = [0.0, -1.5, 0.5, 1.0, 1.0, 2.0, f64::INFINITY, f64::NAN];
/// The index of params and tags holds the first 64 characters: two of them differ behind those.
const LONG: [&str; 2] = [
    "0123456789012345678901234567890123456789012345678901234567890123-a",
    "0123456789012345678901234567890123456789012345678901234567890123-b",
];
const TEXTS: [&str; 8] = ["1", "2", "X1", "x1", "it's", "", "a%b\\_c", "é"];

/// Some runs in two experiments, a few of them deleted.
pub(super) struct World {
    pub(super) tracking: Tracking,
    pub(super) experiments: Vec<ExperimentId>,
    pub(super) runs: Vec<Run>,
}

impl World {
    pub(super) async fn new(dice: &mut Dice, count: usize) -> Self {
        let tracking = tracking().await;
        let other = tracking.experiment_ensure("other").await.expect("experiment").id;
        let experiments = vec![DEFAULT_EXPERIMENT, other];
        let mut runs = Vec::new();
        for _ in 0..count {
            let experiment = if dice.chance(80) { DEFAULT_EXPERIMENT } else { other };
            runs.push(begin(&tracking, dice, experiment).await);
        }
        Self { tracking, experiments, runs }
    }
}

fn text(dice: &mut Dice) -> &'static str {
    let texts: &[&'static str] = if dice.chance(20) { &LONG } else { &TEXTS };
    texts[dice.below(texts.len())]
}

async fn begin(tracking: &Tracking, dice: &mut Dice, experiment: ExperimentId) -> Run {
    let new = NewRun {
        name: Some((*dice.one(&["ant", "Bee", "cow"])).to_owned()),
        user: (*dice.one(&["ada", "Bob"])).to_owned(),
        ..NewRun::new(experiment, Timestamp(dice.below(6) as i64))
    };
    let id = tracking.run_create(new).await.expect("run").info.id;
    let mut batch = Batch::default();
    for key in ["a", "b", "c d"] {
        if dice.chance(75) {
            batch.metrics.push(Metric::new(key, *dice.one(&VALUES), 0, Timestamp(0)));
        }
    }
    for key in ["p", "q r"] {
        if dice.chance(75) {
            batch.params.push(Param::new(key, text(dice)));
        }
        if dice.chance(75) {
            batch.tags.push(Tag::new(key, text(dice)));
        }
    }
    tracking.batch_log(id, batch).await.expect("batch");
    for name in ["flights", "Weather"] {
        if dice.chance(30) {
            let tags = if dice.chance(50) { vec![Tag::new("mlflow.data.context", "train")] } else { Vec::new() };
            let digest = (*dice.one(&["d1", "d2"])).to_owned();
            let dataset = DatasetInput { name: name.to_owned(), digest, tags, ..DatasetInput::default() };
            tracking.inputs_log(id, vec![dataset], Vec::new()).await.expect("input");
        }
    }
    if dice.chance(60) {
        let status = Some(*dice.one(&[RunStatus::Finished, RunStatus::Failed]));
        let update = RunUpdate { status, end: Some(Timestamp(dice.below(9) as i64)), name: None };
        tracking.run_update(id, update).await.expect("end");
    }
    if dice.chance(15) {
        tracking.run_delete(id).await.expect("delete");
    }
    tracking.run_get(id).await.expect("run")
}

fn comparison(dice: &mut Dice) -> String {
    let quoted = |text: &str| if text.contains('\'') { format!("\"{text}\"") } else { format!("'{text}'") };
    let number = *dice.one(&["0", "0.5", "1", "-1.5", "1e300", "2"]);
    let sign = *dice.one(&["=", "!=", "<", "<=", ">", ">="]);
    let metric = *dice.one(&["a", "a", "b", "`c d`"]);
    let key = *dice.one(&["p", "`q r`", "none"]);
    let entity = *dice.one(&["params", "tags"]);
    let value = quoted(text(dice));
    match dice.below(12) {
        0..=3 => format!("metrics.{metric} {sign} {number}"),
        4..=5 => format!("{entity}.{key} {} {value}", dice.one(&["=", "=", "!="])),
        6 => format!("{entity}.{key} {} ({value}, {})", dice.one(&["IN", "NOT IN"]), quoted(text(dice))),
        7 => format!("{entity}.{key} {} {}", dice.one(&["LIKE", "ILIKE"]), dice.one(&["'x%'", "'%_1'", "'a%b\\_c'"])),
        8 => format!("{entity}.{key} {}", dice.one(&["IS NULL", "IS NOT NULL"])),
        9 => format!("{} {sign} {}", dice.one(&["start_time", "attributes.end_time"]), dice.below(6)),
        10 => (*dice.one(&[
            "status = 'FINISHED'",
            "run.status NOT IN ('FAILED', 'KILLED')",
            "run_name ILIKE 'b%'",
            "`Run name` != 'ant'",
            "tags.mlflow.runName LIKE '%n%'",
            "user_id = 'ada'",
            "artifact_uri LIKE 'mlflow-artifacts:/0/%/artifacts'",
        ]))
        .to_owned(),
        _ => (*dice.one(&[
            "dataset.name = 'flights'",
            "datasets.name ILIKE 'weather'",
            "dataset.digest IN ('d1')",
            "dataset.digest != 'd1'",
            "dataset.context = 'train'",
        ]))
        .to_owned(),
    }
}

/// Up to three comparisons.
pub(super) fn filter(dice: &mut Dice) -> String {
    let count = *dice.one(&[0, 1, 1, 1, 2, 2, 3]);
    let comparisons: Vec<String> = (0..count).map(|_| comparison(dice)).collect();
    comparisons.join(" and ")
}

/// Up to three clauses, each of its own key.
pub(super) fn order(dice: &mut Dice) -> Vec<String> {
    let count = *dice.one(&[0, 1, 1, 1, 2, 3]);
    let keys =
        ["metrics.a", "metrics.`c d`", "params.p", "tags.`q r`", "start_time", "end_time", "run_name", "artifact_uri"];
    let mut order: Vec<String> = Vec::new();
    while order.len() < count {
        let key = *dice.one(&keys);
        if order.iter().all(|clause| !clause.starts_with(key)) {
            order.push(format!("{key}{}", dice.one(&["", " ASC", " DESC"])));
        }
    }
    order
}
