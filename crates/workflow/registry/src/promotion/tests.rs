use std::sync::Arc;

use ropewalk_store::Store;
use ropewalk_tracking::{ArtifactPath, DEFAULT_EXPERIMENT, NewRun, Tracking};
use ropewalk_types::{Diagnose, ManualAmbient, RunId};

use super::*;
use crate::testing::{Figures, alias, catalog, name, new_version, sourced};
use crate::{Approver, Better, ErrorKind, GateDeclaration, ModelVersion, Registry, SourcedVersion};

struct Bench {
    registry: Registry,
}

impl Bench {
    /// A model `m` with a version for each `auc`.
    async fn with(figures: &[f64]) -> Self {
        let figures_of = Arc::new(Figures(figures.to_vec()));
        let registry = Registry::with_evidence(catalog().await, Arc::new(ManualAmbient::default()), figures_of);
        let ambient = ManualAmbient::default();
        for _ in figures {
            let new = new_version("m", RunId::new(&ambient), b"model");
            registry.version_register(new, Timestamp(1)).await.expect("version");
        }
        Self { registry }
    }

    fn request(version: u64, gate: Option<&str>) -> PromotionRequest {
        PromotionRequest {
            name: name("m"),
            version,
            target: Target::Alias(champion()),
            gate: gate.map(|text| Gate::parse(text).expect(text)),
            archive: false,
            who: "stage:register".to_owned(),
            why: "run again".to_owned(),
            at: Timestamp(10 + version as i64),
        }
    }

    async fn promote(&self, version: u64, gate: Option<&str>) -> Result<Promotion, RegistryError> {
        self.registry.promote(Self::request(version, gate)).await
    }

    async fn champion(&self) -> Option<u64> {
        self.registry.alias_get(&name("m"), &champion()).await.expect("alias").map(|version| version.version)
    }

    async fn history(&self) -> Vec<Change> {
        self.registry.history(&name("m")).await.expect("history")
    }

    async fn declare(&self, target: &str, declaration: GateDeclaration) {
        let target = target.parse().expect(target);
        self.registry.gate_declare(&name("m"), target, Some(declaration), "ada").await.expect("gate");
    }

    async fn alias_set(&self, version: u64) -> Result<Promotion, RegistryError> {
        self.registry.alias_set(&name("m"), &champion(), version, "client", "why not").await
    }

    async fn stage_set(&self, version: u64, stage: Stage, archive: bool) -> Result<ModelVersion, RegistryError> {
        self.registry.stage_set(&name("m"), version, stage, archive, ("client", "")).await
    }
}

fn champion() -> Alias {
    alias("champion")
}

fn conditions(text: &str) -> GateDeclaration {
    GateDeclaration { conditions: Some(text.to_owned()), ..GateDeclaration::default() }
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
    assert_eq!(seen, [(3, Some(3), Some(1), true), (2, Some(2), Some(1), false), (1, Some(1), None, true)]);
    assert_eq!(history[1].outcome, second.outcome);
    assert_eq!((history[1].gate.as_deref(), history[1].who.as_str()), (BETTER, "stage:register"));
    assert_eq!((history[1].why.as_str(), history[1].at), ("run again", Timestamp(12)));
}

#[tokio::test]
async fn aliases_show_on_versions_and_models() {
    let bench = Bench::with(&[0.7, 0.8]).await;
    bench.promote(1, None).await.expect("promote");
    let versions = bench.registry.version_list(&name("m")).await.expect("list");
    assert_eq!(versions.iter().map(|one| one.aliases.clone()).collect::<Vec<_>>(), [vec![], vec![champion()]]);
    let models = bench.registry.model_list().await.expect("models");
    let newest = models[0].newest().expect("newest");
    assert_eq!((newest.version, models[0].aliases.get(&champion())), (2, Some(&1)));
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
async fn a_person_can_go_back_where_nothing_is_declared() {
    let bench = Bench::with(&[0.7, 0.8]).await;
    bench.promote(2, BETTER).await.expect("second");
    let back = bench.promote(1, None).await.expect("back");
    assert_eq!((back.moved, back.previous, back.outcome.held), (true, Some(2), true));
    assert_eq!(bench.champion().await, Some(1));
}

#[tokio::test]
async fn a_declared_gate_holds_for_everybody_and_its_refusal_gives_the_figures() {
    let bench = Bench::with(&[0.7, 0.65, 0.75]).await;
    bench.declare("champion", conditions("auc >= 0.6 and auc > champion.auc")).await;
    bench.alias_set(1).await.expect("first");
    let error = bench.alias_set(2).await.expect_err("worse");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Refused, "registry.gate_failed"));
    assert!(error.to_string().contains("auc > champion.auc (0.650000 and 0.700000): no"), "{error}");
    let kept = bench.history().await;
    assert_eq!((kept[0].moved, kept[0].who.as_str(), kept[0].why.as_str()), (false, "client", "why not"));
    // Taking the alias away and setting it again is no way around.
    bench.registry.alias_delete(&name("m"), &champion(), "client", "").await.expect("taken away");
    assert_eq!(bench.champion().await, None);
    bench.alias_set(2).await.expect_err("still worse than the last champion");
    bench.alias_set(3).await.expect("better");
    // A stage's own gate comes on top of what is declared.
    bench.alias_set(1).await.expect_err("declared");
    bench.promote(1, Some("auc > 0")).await.map(|one| assert!(!one.outcome.held)).expect("judged");
    bench.registry.gate_declare(&name("m"), champion().into(), None, "ada").await.expect("gate taken away");
    bench.alias_set(1).await.expect("free");
    assert!(bench.registry.gate_list(&name("m"), false).await.expect("gates").is_empty());
    let declared = bench.registry.gate_list(&name("m"), true).await.expect("all");
    assert_eq!(declared.iter().map(|one| one.declaration.is_some()).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn approval_counts_from_those_who_are_named() {
    let bench = Bench::with(&[0.7, 0.8]).await;
    let approval: Vec<Approver> = ["alice", "role:reviewer"].iter().map(|one| one.parse().expect(one)).collect();
    bench.declare("champion", GateDeclaration { approval, ..GateDeclaration::default() }).await;
    let error = bench.alias_set(1).await.expect_err("nobody").to_string();
    assert!(error.contains("approved by alice or role:reviewer: no"), "{error}");
    let (registry, model) = (&bench.registry, name("m"));
    registry.approve(&model, 1, None, None, ("mallory", "me too")).await.expect("noted");
    bench.alias_set(1).await.expect_err("mallory is not named");
    let not = registry.approve(&model, 1, None, Some("reviewer"), ("bob", "")).await.expect_err("no member");
    assert_eq!((not.kind(), not.code()), (ErrorKind::Refused, "registry.not_member"));
    registry.role_member_set("reviewer", "bob", true).await.expect("role");
    let other = Some(Target::Stage(Stage::Production));
    registry.approve(&model, 1, other, Some("reviewer"), ("bob", "for production")).await.expect("noted");
    bench.alias_set(1).await.expect_err("approved for something else");
    registry.approve(&model, 1, Some(champion().into()), Some("reviewer"), ("bob", "fair")).await.expect("noted");
    bench.alias_set(1).await.expect("approved");
    let note = bench.history().await[0].outcome.conditions[0].note.clone();
    assert_eq!(note.as_deref(), Some("bob as role:reviewer: fair"));
    bench.alias_set(2).await.expect_err("another version");
    assert_eq!(registry.approval_list(&model).await.expect("approvals").len(), 3);
    registry.role_member_set("reviewer", "bob", false).await.expect("role");
    assert!(registry.role_list().await.expect("roles").is_empty());
}

#[tokio::test]
async fn stages_are_gated_and_archive_their_elders() {
    let bench = Bench::with(&[0.7, 0.65, 0.8]).await;
    let better = Better { metric: "auc".to_owned(), lower: false };
    let gate = GateDeclaration { better: Some(better), signature: true, ..GateDeclaration::default() };
    bench.declare("stage:Production", gate).await;
    bench.stage_set(1, Stage::Production, false).await.expect("first");
    let error = bench.stage_set(2, Stage::Production, false).await.expect_err("worse");
    assert_eq!(error.kind(), ErrorKind::Refused);
    let third = bench.stage_set(3, Stage::Production, true).await.expect("better");
    assert_eq!(third.stage, Stage::Production);
    let latest = bench.registry.version_latest(&name("m"), vec![]).await.expect("latest");
    let seen: Vec<_> = latest.iter().map(|one| (one.version, one.stage)).collect();
    assert_eq!(seen, [(1, Stage::Archived), (2, Stage::None), (3, Stage::Production)]);
    let wrong = bench.stage_set(2, Stage::Archived, true).await.expect_err("nothing to archive");
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    let targets: Vec<String> = bench.history().await.iter().map(|one| one.target.to_string()).collect();
    assert_eq!(targets, ["stage:Production"; 3]);
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
            current = change.version;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_judged_is_an_error_and_moves_nothing() {
    // There are no figures of the second version.
    let bench = Bench::with(&[0.7]).await;
    let new = new_version("m", RunId::new(&ManualAmbient::default()), b"another");
    bench.registry.version_register(new, Timestamp(2)).await.expect("second");
    bench.promote(1, None).await.expect("first");
    let error = bench.promote(2, Some("auc > champion.auc")).await.expect_err("no metrics");
    assert_eq!(error.code(), "registry.metrics");
    assert!(error.to_string().contains("models:/m/2"), "{error}");
    let unknown = PromotionRequest { version: 9, ..Bench::request(2, None) };
    assert_eq!(bench.registry.promote(unknown).await.expect_err("no version").code(), "registry.version_unknown");
    let unknown = PromotionRequest { name: name("n"), ..Bench::request(2, None) };
    assert_eq!(bench.registry.promote(unknown).await.expect_err("no model").code(), "registry.model_unknown");
    assert_eq!(bench.champion().await, Some(1));
    assert_eq!(bench.history().await.len(), 1);
}

/// Where clients register models, and what their `MLmodel` files say decides.
#[tokio::test]
async fn the_signatures_of_clients_models_are_read_from_their_files() {
    let (catalog, ambient) = (catalog().await, Arc::new(ManualAmbient::default()));
    let store = Store::open("memory:").await.expect("store");
    let tracking = Tracking::new(catalog.clone(), store, ambient.clone());
    let registry = Registry::with_files(catalog, ambient, tracking.clone());
    let run = tracking.run_create(NewRun::new(DEFAULT_EXPERIMENT, Timestamp(1))).await.expect("run").info.id;
    registry.model_create(&name("m"), None, Vec::new()).await.expect("model");
    let inputs = |columns: &str| format!("signature:\n  inputs: '[{columns}]'\n  outputs: null\n  params: null\n");
    let a = r#"{"type": "integer", "name": "a", "required": true}"#;
    let wider = a.replace("integer", "double");
    let files = [
        Some(inputs(a)),
        Some(inputs(&wider)),
        Some(inputs(&format!(r#"{wider}, {{"type": "string", "name": "b"}}"#))),
        Some("flavors: {}\n".to_owned()),
        None,
        Some("signature: [".to_owned()),
    ];
    for (place, text) in files.iter().enumerate() {
        if let Some(text) = text {
            let path = ArtifactPath::new(format!("{place}/MLmodel")).expect("path");
            tracking.artifact_write(run, path, text.clone().into()).await.expect("artifact");
        }
        let source = SourcedVersion { run: Some(run.to_string()), ..sourced("m", &format!("runs:/{run}/{place}")) };
        registry.version_create(source).await.expect("version");
    }
    let elsewhere = SourcedVersion { run: Some(run.to_string()), ..sourced("m", "s3://b/x") };
    registry.version_create(elsewhere).await.expect("version elsewhere");
    let gate = GateDeclaration { signature: true, ..GateDeclaration::default() };
    registry.gate_declare(&name("m"), champion().into(), Some(gate), "ada").await.expect("gate");
    let set = async |version: u64| registry.alias_set(&name("m"), &champion(), version, "client", "").await;
    set(1).await.expect("nobody to be compared with");
    for (version, why) in [
        (3, "it asks for `b` too"),
        (4, "it was logged without a signature"),
        (5, "the candidate's is not known: "),
        (6, "its MLmodel cannot be read: "),
        (7, "its files lie at s3://b/x"),
    ] {
        let error = set(version).await.expect_err(why);
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains(why), "{version}: {error}");
    }
    assert!(set(2).await.expect("wider").moved);
    let narrower = set(1).await.expect_err("narrower").to_string();
    assert!(narrower.contains("its input `a` is integer, not double"), "{narrower}");
    let refused = registry.history(&name("m")).await.expect("history");
    assert_eq!(refused.iter().filter(|change| !change.moved).count(), 6);
}

#[tokio::test]
async fn a_gate_declared_again_leaves_no_record() {
    let bench = Bench::with(&[0.7]).await;
    let gate = |text: &str| GateDeclaration { conditions: Some(text.to_owned()), ..GateDeclaration::default() };
    for text in ["auc > 0.6", "auc > 0.6", "auc > 0.65", "auc > 0.6"] {
        bench.declare("champion", gate(text)).await;
    }
    assert_eq!(bench.registry.gate_list(&name("m"), true).await.expect("gates").len(), 3);
}

/// Nobody gets past a gate by taking away what it compares with, or the model that has it.
#[tokio::test]
async fn what_a_gate_needs_is_neither_deleted_nor_renamed() {
    let bench = Bench::with(&[0.8, 0.7, 0.9]).await;
    let better = Better { metric: "auc".to_owned(), lower: false };
    bench.declare("champion", GateDeclaration { better: Some(better), ..GateDeclaration::default() }).await;
    bench.alias_set(1).await.expect("first");
    let (registry, model) = (&bench.registry, name("m"));
    let guarded =
        |error: RegistryError| assert_eq!((error.kind(), error.code()), (ErrorKind::Refused, "registry.guarded"));
    guarded(registry.version_delete(&model, 1).await.expect_err("the incumbent"));
    registry.alias_delete(&model, &champion(), "client", "").await.expect("taken away");
    guarded(registry.version_delete(&model, 1).await.expect_err("the last incumbent"));
    bench.alias_set(2).await.expect_err("worse than the last incumbent");
    guarded(registry.model_delete(&model).await.expect_err("the model"));
    guarded(registry.model_rename(&model, &name("n")).await.expect_err("the name"));
    bench.alias_set(3).await.expect("better");
    registry.version_delete(&model, 1).await.expect("no incumbent any more");
    registry.version_delete(&model, 2).await.expect("never one");
    registry.gate_declare(&model, champion().into(), None, "ada").await.expect("gate taken away");
    registry.model_rename(&model, &name("n")).await.expect("renamed");
    registry.model_delete(&name("n")).await.expect("deleted");
}
