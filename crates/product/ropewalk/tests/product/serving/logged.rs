//! What the prediction log holds, held against what clients saw.

use std::collections::BTreeMap;

use serde_json::Value;

use super::load::{Acknowledged, Seen};
use crate::harness::Project;

/// What a killed server may lose by docs/serving.md, `linger_ms` as it is unless configured, and how late its thread may get a
/// processor on a busy machine: seconds.
const BOUND: f64 = 0.020 + 0.250;

/// When a server was killed, and when it was known to be gone: seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kill {
    pub(super) from: f64,
    pub(super) to: f64,
}

/// Records of the log by the client's own name for the request.
pub(super) struct Logged(BTreeMap<String, Value>);

impl Logged {
    /// Reads all of the log; nothing may be in it twice.
    pub(super) fn of(project: &Project) -> Self {
        let found = project.json(&["sql", "SELECT prediction, request_id, outputs FROM predictions"]);
        let mut records = BTreeMap::new();
        for record in found.as_array().expect("rows") {
            let request = record["request_id"].as_str().expect("every request has a name").to_owned();
            let before = records.insert(request, record.clone());
            assert!(before.is_none(), "twice in the log: {record} and {before:?}");
        }
        Self(records)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether the record of this answer is there; if so it is the right one.
    pub(super) fn has(&self, one: &Acknowledged) -> bool {
        let Some(record) = self.0.get(&one.request) else { return false };
        assert_eq!(record["prediction"], one.prediction.as_str(), "{one:?}");
        let outputs: Value = serde_json::from_str(record["outputs"].as_str().expect("outputs")).expect("JSON");
        let first = |value: &Value| value.get(0).cloned();
        for (name, said) in one.outputs.as_object().expect("outputs") {
            // The log has a list for each row, where an answer's numbers lie one after another.
            let kept = &outputs[name];
            let same = kept == said || first(kept).as_ref() == Some(said);
            assert!(same, "the log says otherwise: {kept}, {one:?}");
        }
        true
    }

    /// Of what a server acknowledged only the last moment before a kill may be missing, and before that nothing.
    ///
    /// Records are written in the order in which they come. So what is missing must be younger than everything of the same life
    /// that is there: this holds however late the machine was, the bound as far as it was not.
    pub(super) fn assert_holds(&self, seen: &Seen, kills: &[Kill]) {
        let life = |at: f64| kills.iter().position(|kill| at <= kill.to);
        let mut last_there: BTreeMap<Option<usize>, f64> = BTreeMap::new();
        let mut missing = Vec::new();
        for one in &seen.acknowledged {
            if self.has(one) {
                let last = last_there.entry(life(one.at)).or_insert(one.sent);
                *last = last.max(one.sent);
            } else {
                missing.push(one);
            }
        }
        let mut oldest = 0.0_f64;
        for one in &missing {
            let ended = life(one.at);
            let kill = ended.map(|number| kills[number]);
            let kill = kill.unwrap_or_else(|| panic!("lost, and nothing was killed: {one:?}"));
            oldest = oldest.max(kill.from - one.at);
            let there = last_there.get(&ended).copied().unwrap_or(0.0);
            assert!(one.at >= there, "lost, though what came after it is there: {one:?}");
        }
        assert!(
            oldest <= BOUND,
            "{} acknowledged, {} logged, {} lost with {} kills, the oldest {:.1} ms before one",
            seen.acknowledged.len(),
            self.count(),
            missing.len(),
            kills.len(),
            oldest * 1e3
        );
    }
}

/// Clients saw answers, and errors after which one asks again.
pub(super) fn assert_retryable(seen: &Seen) {
    assert!(seen.wrong.is_empty(), "{} answers that nobody may see: {:?}", seen.wrong.len(), seen.wrong.first());
    let mut expected: BTreeMap<usize, &Acknowledged> = BTreeMap::new();
    for one in &seen.acknowledged {
        let (_, number) = one.request.rsplit_once('-').expect("a number");
        let row = number.parse::<usize>().expect("a number") % 8;
        let first = expected.entry(row).or_insert(one);
        assert_eq!(first.outputs, one.outputs, "one row, two answers: {first:?} {one:?}");
    }
    assert!(expected.len() == 8, "hardly any answers: {expected:?}");
}
