use std::sync::Arc;

use ropewalk_catalog::Catalog;
use ropewalk_types::{Diagnose, Digest, ManualAmbient, RunId, Signature};

use super::*;
use crate::{MIGRATIONS, NewVersion, Registry};

/// The `auc` of version N is the figure at N - 1.
#[derive(Debug)]
struct Figures(Vec<f64>);

#[async_trait]
impl MetricSource for Figures {
    async fn metrics(&self, _: &mut AnyConnection, version: &ModelVersion) -> Result<Metrics, String> {
        let figure = self.0.get(version.version as usize - 1).ok_or("the run was deleted")?;
        Ok(Metrics::from([("auc".to_owned(), *figure)]))
    }
}

struct Bench {
    registry: Registry,
    figures: Arc<Figures>,
}

impl Bench {
    /// A model `m` with a version for each `auc`.
    async fn with(figures: &[f64]) -> Self {
        let catalog = Catalog::in_memory(&[ropewalk_lineage::MIGRATIONS, MIGRATIONS]).await.expect("catalog");
        let registry = Registry::new(catalog);
        let ambient = ManualAmbient::default();
        for _ in figures {
            let new = NewVersion {
                name: model(),
                run: RunId::new(&ambient),
                artifact: "model.onnx".to_owned(),
                digest: Digest::of(b"model"),
                size: 5,
                signature: Signature::default(),
                dataset: None,
                description: String::new(),
            };
            registry.version_register(new, Timestamp(1)).await.expect("version");
        }
        Self { registry, figures: Arc::new(Figures(figures.to_vec())) }
    }

    async fn promote(&self, version: u64, gate: Option<&str>) -> Result<Promotion, RegistryError> {
        let request = PromotionRequest {
            name: model(),
            version,
            alias: champion(),
            gate: gate.map(|text| Gate::parse(text).expect(text)),
            candidate: Metrics::from([("auc".to_owned(), self.figures.0[version as usize - 1])]),
            who: "stage:register".to_owned(),
            why: "run again".to_owned(),
            at: Timestamp(10 + version as i64),
        };
        let figures: Arc<dyn MetricSource> = self.figures.clone();
        self.registry.promote(request, figures).await
    }

    async fn champion(&self) -> Option<u64> {
        self.registry.alias_get(&model(), &champion()).await.expect("alias").map(|version| version.version)
    }

    async fn history(&self) -> Vec<AliasChange> {
        self.registry.alias_history(&model()).await.expect("history")
    }
}

fn model() -> ModelName {
    ModelName::new("m").expect("model")
}

fn champion() -> Alias {
    Alias::new("champion").expect("alias")
}

const BETTER: Option<&str> = Some("auc >= 0.6 and auc > champion.auc");

#[tokio::test]
async fn the_alias_moves_only_if_the_gate_holds_and_both_are_kept() {
    let bench = Bench::with(&[0.7, 0.65, 0.75]).await;
    let first = bench.promote(1, BETTER).await.expect("first");
    assert_eq!((first.moved, first.previous), (true, None));
    assert_eq!(first.outcome.conditions[1].note.as_deref(), Some("no champion yet"));
    let second = bench.promote(2, BETTER).await.expect("second");
    assert_eq!((second.moved, second.outcome.held, second.previous), (false, false, Some(1)));
    assert_eq!((second.outcome.conditions[1].left, second.outcome.conditions[1].right), (Some(0.65), Some(0.7)));
    assert_eq!(bench.champion().await, Some(1));
    assert!(bench.promote(3, BETTER).await.expect("third").moved);
    assert_eq!(bench.champion().await, Some(3));
    let history = bench.history().await;
    let seen: Vec<_> = history.iter().map(|one| (one.sequence, one.version, one.previous, one.moved)).collect();
    assert_eq!(seen, [(3, 3, Some(1), true), (2, 2, Some(1), false), (1, 1, None, true)]);
    assert_eq!(history[1].outcome, second.outcome);
    assert_eq!((history[1].gate.as_deref(), history[1].who.as_str()), (BETTER, "stage:register"));
    assert_eq!((history[1].why.as_str(), history[1].at), ("run again", Timestamp(12)));
}

#[tokio::test]
async fn aliases_show_on_versions_and_models() {
    let bench = Bench::with(&[0.7, 0.8]).await;
    bench.promote(1, None).await.expect("promote");
    let versions = bench.registry.version_list(&model()).await.expect("list");
    assert_eq!(versions.iter().map(|one| one.aliases.clone()).collect::<Vec<_>>(), [vec![], vec![champion()]]);
    let models = bench.registry.model_list().await.expect("models");
    assert_eq!((models[0].latest.version, models[0].aliases.get(&champion())), (2, Some(&1)));
    assert!(models[0].latest.aliases.is_empty());
    let by_alias = bench.registry.resolve(&"models:/m@champion".parse().expect("uri")).await.expect("resolve");
    assert_eq!((by_alias.version, by_alias.aliases), (1, vec![champion()]));
    let error = bench.registry.resolve(&"models:/m@champoin".parse().expect("uri")).await.expect_err("typing error");
    assert_eq!(error.hint().as_deref(), Some("did you mean `champion`?"));
}

#[tokio::test]
async fn promoting_the_champion_again_changes_nothing() {
    let bench = Bench::with(&[0.7, 0.8]).await;
    bench.promote(1, BETTER).await.expect("first");
    let moved = bench.promote(2, BETTER).await.expect("second");
    let again = bench.promote(2, BETTER).await.expect("again");
    assert_eq!((again.moved, again.previous), (false, Some(2)));
    assert_eq!(again.outcome, moved.outcome, "it is compared with what it replaced, not with itself");
    assert_eq!(bench.history().await.len(), 2);
    let stricter = bench.promote(2, Some("auc > 0.9")).await.expect("stricter");
    assert!(!stricter.outcome.held);
    assert_eq!(bench.champion().await, Some(2));
    assert_eq!(bench.history().await.len(), 3);
}

#[tokio::test]
async fn a_person_can_go_back_without_a_gate() {
    let bench = Bench::with(&[0.7, 0.8]).await;
    bench.promote(2, BETTER).await.expect("second");
    let back = bench.promote(1, None).await.expect("back");
    assert_eq!((back.moved, back.previous, back.outcome.held), (true, Some(2), true));
    assert_eq!(bench.champion().await, Some(1));
}

#[tokio::test]
async fn of_two_at_once_the_better_wins_in_either_order() {
    for order in [[1, 2], [2, 1]] {
        let bench = Bench::with(&[0.7, 0.8]).await;
        let (one, other) = tokio::join!(bench.promote(order[0], BETTER), bench.promote(order[1], BETTER));
        let (one, other) = (one.expect("one"), other.expect("other"));
        assert_eq!(bench.champion().await, Some(2));
        assert!(one.moved);
        assert_eq!(other.moved, order == [1, 2], "the later one met the earlier one");
        assert_eq!(other.previous, Some(order[0]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_ends_with_the_best_and_the_history_is_a_chain() {
    let figures: Vec<f64> = (0..30).map(|number| 0.6 + f64::from((number * 17) % 30) / 100.0).collect();
    let bench = Arc::new(Bench::with(&figures).await);
    let tasks: Vec<_> = (1..=30)
        .map(|version| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.promote(version, BETTER).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("task").expect("promotion");
    }
    let best = figures.iter().enumerate().max_by(|left, right| left.1.total_cmp(right.1)).expect("best").0 as u64 + 1;
    assert_eq!(bench.champion().await, Some(best));
    let mut history = bench.history().await;
    history.sort_by_key(|change| change.sequence);
    assert_eq!(history.len(), 30);
    let mut current = None;
    for change in history {
        assert_eq!(change.previous, current);
        if change.moved {
            current = Some(change.version);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_judged_is_an_error_and_moves_nothing() {
    let bench = Bench::with(&[0.7, 0.8]).await;
    bench.promote(1, None).await.expect("first");
    let blind = Bench { registry: bench.registry.clone(), figures: Arc::new(Figures(vec![])) };
    let request = PromotionRequest {
        name: model(),
        version: 2,
        alias: champion(),
        gate: Some(Gate::parse("auc > champion.auc").expect("gate")),
        candidate: Metrics::from([("auc".to_owned(), 0.8)]),
        who: String::new(),
        why: String::new(),
        at: Timestamp(1),
    };
    let error = blind.registry.promote(request.clone(), blind.figures.clone()).await.expect_err("no metrics");
    assert_eq!(error.code(), "registry.metrics");
    assert!(error.to_string().contains("models:/m/1"), "{error}");
    let unknown = PromotionRequest { version: 9, ..request.clone() };
    let error = bench.registry.promote(unknown, bench.figures.clone()).await.expect_err("no version");
    assert_eq!(error.code(), "registry.version_unknown");
    let unknown = PromotionRequest { name: ModelName::new("n").expect("name"), ..request };
    let error = bench.registry.promote(unknown, bench.figures.clone()).await.expect_err("no model");
    assert_eq!(error.code(), "registry.model_unknown");
    assert_eq!(bench.champion().await, Some(1));
    assert_eq!(bench.history().await.len(), 1);
}
