use ropewalk_catalog::{Connection, query};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::future::BoxFuture;
use ropewalk_types::{Diagnose, ManualAmbient, RunStatus};
use serde_json::{Value, json};

use super::*;
use crate::{ArtifactKind, Executed, RunRecorder};

/// Writes its `text` setting and the digests of its inputs into a file, counting how often it is asked to.
#[derive(Default)]
struct Copy {
    executions: AtomicUsize,
}

#[derive(Debug, thiserror::Error)]
#[error("told to fail")]
struct ToldToFail;

impl Diagnose for ToldToFail {
    fn code(&self) -> &'static str {
        "test.told"
    }
}

#[async_trait]
impl StageKind for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn revision(&self) -> u32 {
        1
    }

    async fn fingerprint(&self, _: &StageSpec, _: &Project, _: &Store) -> Result<Value, Failure> {
        Ok(Value::Null)
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        self.executions.fetch_add(1, Ordering::SeqCst);
        let text = spec.settings["text"].as_str().unwrap_or_default();
        if text == "fail" {
            return Err(ToldToFail.into());
        }
        let inputs: Vec<String> = context.inputs.values().map(|input| input.artifact.digest.to_string()).collect();
        let blob = context.store.put_bytes(format!("{text}{inputs:?}").into()).await?;
        let kind = ArtifactKind::File { path: "out".to_owned() };
        let artifact = crate::Artifact { kind, digest: blob.digest, size: blob.size };
        let refuse = text == "refused record";
        let record: crate::Record = Box::new(move |_| {
            Box::pin(async move { if refuse { Err(PipelineError::Record(ToldToFail.into())) } else { Ok(()) } })
        });
        let outputs = BTreeMap::from([("out".to_owned(), artifact)]);
        Ok(Executed { outputs, summary: json!({ "text": text }), records: vec![record], ..Executed::default() })
    }

    fn still_holds(&self, outcome: &Outcome) -> bool {
        outcome.summary["text"] != "for a moment"
    }

    fn said_again(&self, outcome: &Outcome) -> Vec<String> {
        outcome.summary["text"]
            .as_str()
            .filter(|text| text.starts_with("warning"))
            .map(str::to_owned)
            .into_iter()
            .collect()
    }
}

/// Remembers how runs ended, and says of each known output that it is the latest again.
#[derive(Default)]
struct Recorders(Arc<Mutex<Vec<RunStatus>>>);

struct Recorder {
    run: RunId,
    ended: Arc<Mutex<Vec<RunStatus>>>,
}

#[async_trait]
impl RunRecorders for Recorders {
    async fn begin(
        &self,
        _: &StageSpec,
        key: &Digest,
        _: &BTreeMap<String, Input>,
    ) -> Result<Arc<dyn RunRecorder>, Failure> {
        let run = key.to_string()[..32].parse().expect("a key begins with a run's id");
        Ok(Arc::new(Recorder { run, ended: Arc::clone(&self.0) }))
    }

    async fn known(&self, outcome: &Outcome) -> Result<BTreeSet<String>, Failure> {
        if outcome.stage.as_str() == "forgetful" {
            return Err(ToldToFail.into());
        }
        Ok(outcome.outputs.keys().cloned().collect())
    }
}

#[async_trait]
impl RunRecorder for Recorder {
    fn run(&self) -> RunId {
        self.run
    }

    async fn params(&self, _: &BTreeMap<String, String>) -> Result<(), Failure> {
        Ok(())
    }

    async fn metrics(&self, _: &BTreeMap<String, f64>, _: i64) -> Result<(), Failure> {
        Ok(())
    }

    async fn tags(&self, _: &BTreeMap<String, String>) -> Result<(), Failure> {
        Ok(())
    }

    async fn artifact(&self, _: &str, _: Digest, _: u64) -> Result<(), Failure> {
        Ok(())
    }

    async fn environment(&self) -> Result<BTreeMap<String, String>, Failure> {
        Ok(BTreeMap::new())
    }

    fn finish<'c>(&'c self, _: &'c mut Connection, status: RunStatus) -> BoxFuture<'c, Result<(), PipelineError>> {
        self.ended.lock().expect("lock").push(status);
        Box::pin(async { Ok(()) })
    }

    async fn fail(&self, _: &str) -> Result<(), Failure> {
        self.ended.lock().expect("lock").push(RunStatus::Failed);
        Ok(())
    }
}

/// Remembers what stages said.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &Event) {
        if let Event::Said { text, .. } = event {
            self.0.lock().expect("lock").push(text.clone());
        }
    }
}

struct House {
    kind: Arc<Copy>,
    ended: Arc<Mutex<Vec<RunStatus>>>,
    heard: Arc<Heard>,
    catalog: Catalog,
    runner: Runner,
    _scratch: tempfile::TempDir,
}

async fn house() -> House {
    let scratch = tempfile::tempdir().expect("folder");
    let catalog = Catalog::in_memory(&[ropewalk_lineage::MIGRATIONS, crate::MIGRATIONS]).await.expect("catalogue");
    let (kind, recorders) = (Arc::new(Copy::default()), Recorders::default());
    let (ended, heard) = (Arc::clone(&recorders.0), Arc::new(Heard::default()));
    let runner = Runner::new(
        Project { root: scratch.path().to_owned(), name: "test".to_owned() },
        Store::open("memory:").await.expect("store"),
        catalog.clone(),
        vec![Arc::clone(&kind) as Arc<dyn StageKind>],
        Arc::new(recorders),
        Arc::clone(&heard) as Arc<dyn Observer>,
        Arc::new(ManualAmbient::default()),
        "git:aa".parse().expect("uri"),
        scratch.path().join("work"),
        2,
    );
    House { kind, ended, heard, catalog, runner, _scratch: scratch }
}

fn stage(name: &str, text: &str, needs: &[&str]) -> StageSpec {
    let input = |need: &&str| {
        let stage = need.parse().expect("name");
        ((*need).to_owned(), InputSource { stage, output: None })
    };
    let inputs = needs.iter().map(input).collect();
    StageSpec {
        name: name.parse().expect("name"),
        kind: "copy",
        settings: json!({ "text": text }),
        inputs,
        after: std::collections::BTreeSet::new(),
    }
}

fn diamond(text: &str) -> Plan {
    let stages =
        vec![stage("a", text, &[]), stage("b", "b", &["a"]), stage("c", "c", &["a"]), stage("d", "d", &["b", "c"])];
    Plan::new(stages).expect("plan")
}

fn states(report: &RunReport) -> Vec<StageState> {
    report.stages.iter().map(|stage| stage.state).collect()
}

#[tokio::test]
async fn what_is_known_is_not_done_again() {
    let house = house().await;
    let first = house.runner.run(&diamond("one")).await.expect("runs");
    assert_eq!(states(&first), [StageState::Executed; 4]);
    let again = house.runner.run(&diamond("one")).await.expect("runs");
    assert_eq!(states(&again), [StageState::Cached; 4]);
    assert_eq!(house.kind.executions.load(Ordering::SeqCst), 4);
    let status = house.runner.status(&diamond("one")).await.expect("status");
    assert!(status.iter().all(|stage| stage.up_to_date));
    let changed = house.runner.status(&diamond("two")).await.expect("status");
    assert!(changed.iter().all(|stage| !stage.up_to_date), "everything hangs on the first stage");
}

#[tokio::test]
async fn what_held_for_a_moment_is_executed_again() {
    let house = house().await;
    let plan = Plan::new(vec![stage("a", "for a moment", &[]), stage("b", "b", &["a"])]).expect("plan");
    house.runner.run(&plan).await.expect("runs");
    let status = house.runner.status(&plan).await.expect("status");
    assert!(!status[0].up_to_date, "{status:?}");
    let again = house.runner.run(&plan).await.expect("runs");
    assert_eq!(states(&again), [StageState::Executed, StageState::Cached], "it made the same");
}

#[tokio::test]
async fn warnings_are_said_again_while_they_stand() {
    let house = house().await;
    let plan = Plan::new(vec![stage("a", "warning: one", &[]), stage("b", "b", &[])]).expect("plan");
    house.runner.run(&plan).await.expect("runs");
    assert!(house.heard.0.lock().expect("lock").is_empty());
    let again = house.runner.run(&plan).await.expect("runs");
    assert_eq!(states(&again), [StageState::Cached; 2]);
    assert_eq!(*house.heard.0.lock().expect("lock"), ["warning: one"]);
}

#[tokio::test]
async fn what_is_known_is_noted_each_time() {
    let house = house().await;
    let first = house.runner.run(&diamond("one")).await.expect("runs");
    assert!(first.latest_again().is_empty(), "it was just made");
    let again = house.runner.run(&diamond("one")).await.expect("runs");
    assert_eq!(again.latest_again(), BTreeSet::from(["out"]));
    let plan = Plan::new(vec![stage("forgetful", "x", &[]), stage("after", "y", &["forgetful"])]).expect("plan");
    assert!(!house.runner.run(&plan).await.expect("runs").failed());
    let refused = house.runner.run(&plan).await.expect("runs");
    assert_eq!(states(&refused), [StageState::Failed, StageState::Skipped], "what cannot be noted is no success");
}

#[tokio::test]
async fn a_name_is_not_part_of_a_key_and_everything_else_is() {
    let house = house().await;
    let run = async |stages: Vec<StageSpec>| house.runner.run(&Plan::new(stages).expect("plan")).await.expect("runs");
    run(vec![stage("a", "text", &[])]).await;
    assert_eq!(states(&run(vec![stage("renamed", "text", &[])]).await), [StageState::Cached]);
    assert_eq!(states(&run(vec![stage("a", "other", &[])]).await), [StageState::Executed]);
}

#[tokio::test]
async fn a_failure_stops_what_needs_it_and_nothing_else() {
    let house = house().await;
    let stages = vec![stage("bad", "fail", &[]), stage("after", "x", &["bad"]), stage("free", "y", &[])];
    let report = house.runner.run(&Plan::new(stages).expect("plan")).await.expect("runs");
    let state = |name: &str| report.stage(name).map(|stage| stage.state);
    assert_eq!(state("bad"), Some(StageState::Failed));
    assert_eq!(state("after"), Some(StageState::Skipped));
    assert_eq!(state("free"), Some(StageState::Executed));
    assert!(report.failed());
    assert_eq!(report.stage("bad").and_then(|stage| stage.error.as_deref()), Some("told to fail"));
    assert!(house.ended.lock().expect("lock").contains(&RunStatus::Failed));
}

#[tokio::test]
async fn a_refused_record_leaves_no_outcome_and_no_lineage() {
    let house = house().await;
    let plan = Plan::new(vec![stage("a", "refused record", &[])]).expect("plan");
    let report = house.runner.run(&plan).await.expect("runs");
    assert_eq!(states(&report), [StageState::Failed]);
    assert!(crate::outcome_list(&house.catalog, 10).await.expect("outcomes").is_empty());
    let links: i64 = query("SELECT COUNT(*) FROM lineage_link").read_one(&house.catalog).await.expect("count");
    assert_eq!(links, 0);
}

#[tokio::test]
async fn an_output_that_the_store_lost_is_made_again() {
    let house = house().await;
    let run = house.runner.run(&diamond("one")).await.expect("runs");
    let lost = run.stage("a").and_then(|a| a.outputs.get("out")).expect("output").digest;
    let other = Digest::of(b"not in the store");
    house
        .catalog
        .write::<(), PipelineError, _>(move |connection| {
            Box::pin(async move {
                let statement = query("UPDATE stage_outcome SET outputs = replace(outputs, $1, $2)");
                let statement = statement.bind(lost.to_string()).bind(other.to_string());
                statement.execute(connection).await?;
                Ok(())
            })
        })
        .await
        .expect("update");
    let again = house.runner.run(&diamond("one")).await.expect("runs");
    assert_eq!(again.stage("a").map(|a| a.state), Some(StageState::Executed));
    assert_eq!(again.stage("d").map(|d| d.state), Some(StageState::Cached), "the same bytes came back");
}

#[tokio::test]
async fn what_was_forgotten_is_made_again() {
    let house = house().await;
    let run = house.runner.run(&diamond("one")).await.expect("runs");
    let key = run.stage("a").and_then(|a| a.key).expect("key");
    let pieces = std::collections::BTreeSet::from([Digest::of(b"one"), Digest::of(b"two")]);
    let noted = pieces.clone();
    let put = house
        .catalog
        .write(move |connection| Box::pin(async move { crate::pieces_put(connection, &key, &noted).await }));
    put.await.expect("notes");
    assert_eq!(crate::pieces_list(&house.catalog).await.expect("pieces"), BTreeMap::from([(key, pieces)]));
    let forget = || {
        house.catalog.write(move |connection| Box::pin(async move { crate::outcome_forget(connection, &key).await }))
    };
    assert!(forget().await.expect("forgets"));
    assert!(!forget().await.expect("forgets"), "it is not known any longer");
    assert!(crate::pieces_list(&house.catalog).await.expect("pieces").is_empty());
    let again = house.runner.run(&diamond("one")).await.expect("runs");
    assert_eq!(again.stage("a").map(|a| a.state), Some(StageState::Executed));
    assert_eq!(again.stage("d").map(|d| d.state), Some(StageState::Cached), "the same bytes came back");
}

#[tokio::test]
async fn lineage_leads_from_the_last_output_to_the_first_stage() {
    let house = house().await;
    let report = house.runner.run(&diamond("one")).await.expect("runs");
    let last = report.stage("d").expect("d");
    let run = Uri::Run { run: last.run.expect("run"), path: "out".to_owned() };
    let steps = ropewalk_lineage::upstream(&house.catalog, &run).await.expect("upstream");
    let first =
        Uri::Stage { name: "a".parse().expect("name"), key: report.stage("a").and_then(|a| a.key).expect("key") };
    assert!(steps.iter().any(|step| step.link.parent == first), "{steps:?}");
    assert!(steps.iter().any(|step| step.link.parent.to_string() == "git:aa"));
}
