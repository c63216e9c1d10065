use std::collections::{BTreeMap, BTreeSet};

use ropewalk_types::StageName;

use crate::{PipelineError, StageSpec};

/// Stages in an order in which each comes after all that it needs.
#[derive(Clone, Debug)]
pub struct Plan {
    stages: Vec<StageSpec>,
}

impl Plan {
    /// Orders `stages`; among those that are free to run, by name.
    ///
    /// # Errors
    /// Two stages of one name, a stage that needs an unknown one, or stages that wait for each other.
    pub fn new(stages: Vec<StageSpec>) -> Result<Self, PipelineError> {
        let mut waiting: BTreeMap<StageName, StageSpec> = BTreeMap::new();
        for stage in stages {
            if let Some(twin) = waiting.insert(stage.name.clone(), stage) {
                return Err(PipelineError::Duplicate(twin.name));
            }
        }
        for stage in waiting.values() {
            if let Some(unknown) = stage.needs().into_iter().find(|need| !waiting.contains_key(need)) {
                let needs = unknown.to_string();
                return Err(PipelineError::UnknownInput { stage: stage.name.clone(), needs });
            }
        }
        let mut ordered: Vec<StageSpec> = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let free = waiting.values().find(|stage| !stage.needs().iter().any(|need| waiting.contains_key(need)));
            let Some(name) = free.map(|stage| stage.name.clone()) else {
                return Err(PipelineError::Cycle(circle(&waiting)));
            };
            ordered.extend(waiting.remove(&name));
        }
        Ok(Self { stages: ordered })
    }

    /// The stages, in order.
    pub fn stages(&self) -> &[StageSpec] {
        &self.stages
    }

    /// Only `targets` and all that they need.
    ///
    /// # Errors
    /// A target is not a stage.
    pub fn only(self, targets: &[StageName]) -> Result<Self, PipelineError> {
        let mut wanted: BTreeSet<StageName> = BTreeSet::new();
        for target in targets {
            if !self.stages.iter().any(|stage| stage.name == *target) {
                let stage = target.clone();
                return Err(PipelineError::UnknownInput { stage, needs: target.to_string() });
            }
            wanted.insert(target.clone());
        }
        for stage in self.stages.iter().rev() {
            if wanted.contains(&stage.name) {
                wanted.extend(stage.needs());
            }
        }
        Ok(Self { stages: self.stages.into_iter().filter(|stage| wanted.contains(&stage.name)).collect() })
    }
}

impl StageSpec {
    /// The stages that must have ended before this one begins.
    pub(crate) fn needs(&self) -> BTreeSet<StageName> {
        self.inputs.values().map(|input| &input.stage).chain(&self.after).cloned().collect()
    }
}

/// Some circle among stages that all wait: follow one need each until a stage comes again.
fn circle(waiting: &BTreeMap<StageName, StageSpec>) -> Vec<StageName> {
    let mut path: Vec<StageName> = waiting.keys().next().cloned().into_iter().collect();
    while let Some(stage) = path.last().and_then(|name| waiting.get(name)) {
        let Some(next) = stage.needs().into_iter().find(|need| waiting.contains_key(need)) else { break };
        if let Some(start) = path.iter().position(|name| *name == next) {
            path.drain(..start);
            path.push(next);
            break;
        }
        path.push(next);
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::InputSource;

    #[test]
    fn a_stage_comes_after_what_it_must_wait_for() {
        let mut late = stage("a", &[]);
        late.after.insert("z".parse().expect("name"));
        let plan = Plan::new(vec![late.clone(), stage("z", &[])]).expect("plan");
        let names: Vec<_> = plan.stages().iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, ["z", "a"]);
        assert_eq!(plan.only(&["a".parse().expect("name")]).expect("only").stages().len(), 2);
        assert!(matches!(Plan::new(vec![late]), Err(PipelineError::UnknownInput { .. })));
    }

    fn stage(name: &str, needs: &[&str]) -> StageSpec {
        let input = |need: &&str| {
            let source = InputSource { stage: need.parse().expect("name"), output: None };
            ((*need).to_owned(), source)
        };
        let inputs = needs.iter().map(input).collect();
        StageSpec {
            name: name.parse().expect("name"),
            kind: "test",
            settings: Value::Null,
            inputs,
            after: BTreeSet::new(),
        }
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.stages().iter().map(|stage| stage.name.as_str()).collect()
    }

    #[test]
    fn order_follows_needs_then_names() {
        let stages = vec![
            stage("train", &["features"]),
            stage("features", &["flights", "weather"]),
            stage("weather", &[]),
            stage("flights", &[]),
        ];
        let plan = Plan::new(stages).expect("plan");
        assert_eq!(names(&plan), ["flights", "weather", "features", "train"]);
        let only = plan.only(&["weather".parse().expect("name")]).expect("only");
        assert_eq!(names(&only), ["weather"]);
    }

    #[test]
    fn circles_are_named() {
        let error = Plan::new(vec![stage("a", &["b"]), stage("b", &["c"]), stage("c", &["b"])]).expect_err("circle");
        assert_eq!(error.to_string(), "stages wait for each other in a circle: b -> c -> b");
        let error = Plan::new(vec![stage("a", &["x"])]).expect_err("unknown");
        assert!(error.to_string().contains("`x`"), "{error}");
        assert!(matches!(Plan::new(vec![stage("a", &[]), stage("a", &[])]), Err(PipelineError::Duplicate(_))));
    }

    proptest! {
        #[test]
        fn every_stage_comes_after_its_needs(edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..40)) {
            let mut needs = vec![Vec::new(); 12];
            for (from, to) in edges {
                needs[from.max(to)].push(from.min(to));
            }
            let texts: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
            let acyclic = (0..12).map(|n| {
                let needs: Vec<&str> = needs[n].iter().filter(|&&m| m != n).map(|&m| texts[m].as_str()).collect();
                stage(&texts[n], &needs)
            });
            let plan = Plan::new(acyclic.collect()).expect("no circle: needs point to smaller numbers");
            let mut seen = BTreeSet::new();
            for stage in plan.stages() {
                prop_assert!(stage.needs().is_subset(&seen));
                seen.insert(stage.name.clone());
            }
            prop_assert_eq!(seen.len(), 12);
        }
    }
}
