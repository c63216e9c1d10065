use std::path::Path;
use std::time::Instant;

use ropewalk_inference_server::InferenceServer;
use ropewalk_monitoring::MonitoringReport;
use ropewalk_server::ServerError;
use ropewalk_types::PredictionId;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Format, RunReport, StageState, output, terminal};
use crate::commands::run;

/// One step of the demo.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    name: String,
    /// Wall time, in seconds.
    seconds: f64,
    /// `executed` or `cached`; `failed` or `skipped` for stages that ended so.
    state: StageState,
    detail: String,
}

/// What happened, for the summary at the end.
#[derive(Default)]
pub(super) struct Story {
    steps: Vec<Step>,
    executed_stages: usize,
    facts: serde_json::Map<String, Value>,
    report: Option<String>,
    thread: Option<String>,
}

impl Step {
    fn of(name: &str, begun: Instant, state: StageState, detail: String) -> Self {
        Self { name: name.to_owned(), seconds: begun.elapsed().as_secs_f64(), state, detail }
    }

    pub(super) fn executed(name: &str, begun: Instant, detail: String) -> Self {
        Self::of(name, begun, StageState::Executed, detail)
    }

    pub(super) fn known(name: &str, begun: Instant, detail: String) -> Self {
        Self::of(name, begun, StageState::Cached, detail)
    }
}

impl Story {
    /// Does a step that says whether there was anything to do.
    pub(super) async fn step(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<(bool, String), ServerError>>,
    ) -> Result<(), ServerError> {
        let begun = Instant::now();
        let (executed, detail) = work.await?;
        let state = if executed { StageState::Executed } else { StageState::Cached };
        self.push(Step::of(name, begun, state, detail));
        Ok(())
    }

    pub(super) fn push(&mut self, step: Step) {
        let word = if step.state == StageState::Cached { "known" } else { "done" };
        terminal::say(&format!("{word:<8}{:<12} {:<9} {:>7.2} s  {}", step.name, "", step.seconds, step.detail));
        self.steps.push(step);
    }

    /// Takes over the pipeline's stages, which were shown while they ran.
    pub(super) fn stages(&mut self, report: &RunReport) {
        terminal::say(&run::summary(report));
        self.executed_stages = report.count(StageState::Executed);
        for stage in &report.stages {
            let (name, seconds, state) = (stage.name.to_string(), stage.seconds, stage.state);
            self.steps.push(Step { name, seconds, state, detail: stage.error.clone().unwrap_or_default() });
            if stage.kind == "register" {
                for key in ["model", "gate"] {
                    self.facts.insert(key.to_owned(), stage.summary.get(key).cloned().unwrap_or_default());
                }
            }
            if let Some(auc) = stage.summary.pointer("/metrics/auc") {
                self.facts.insert("auc".to_owned(), auc.clone());
            }
        }
    }

    pub(super) fn monitored(&mut self, report: &MonitoringReport) {
        let drifted: Vec<&str> =
            report.drift.columns.iter().filter(|column| column.drifted).map(|column| column.column.as_str()).collect();
        self.facts.insert("drifted_columns".to_owned(), json!(drifted));
        self.report = Some(report.terminal());
    }

    pub(super) fn sample(&mut self, prediction: PredictionId, thread: String) {
        self.facts.insert("sample_prediction_id".to_owned(), json!(prediction));
        self.thread = Some(thread);
    }

    pub(super) fn urls(&mut self, server: &InferenceServer) {
        self.facts.insert("rest_url".to_owned(), json!(server.rest_url()));
        self.facts.insert("grpc_url".to_owned(), json!(server.grpc_url()));
    }

    /// The summary: what was made, where it lies, what to type next.
    pub(super) fn tell(&self, format: Format, root: &Path) {
        if format == Format::Json {
            let mut object = self.facts.clone();
            object.insert("steps".to_owned(), json!(self.steps));
            object.insert("executed_stages".to_owned(), json!(self.executed_stages));
            object.insert("project".to_owned(), json!(root));
            return output::json(&object);
        }
        output::text(&self.summary(root));
    }

    fn fact(&self, key: &str) -> String {
        match self.facts.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "-".to_owned(),
        }
    }

    fn summary(&self, root: &Path) -> String {
        let held = self.facts.get("gate").and_then(|gate| gate.get("held")).and_then(Value::as_bool);
        let auc = self.facts.get("auc").and_then(Value::as_f64).unwrap_or(f64::NAN);
        let gate = if held == Some(true) { "held" } else { "did not hold" };
        let parts = [&self.report, &self.thread].into_iter().flatten();
        let mut lines: Vec<String> = parts.flat_map(|part| [String::new(), part.trim_end().to_owned()]).collect();
        lines.extend([
            String::new(),
            format!("model    {} (AUC {auc:.4} on later months; its gate {gate})", self.fact("model")),
            format!("project  {}", root.display()),
            format!("report   {}", root.join("report.html").display()),
            format!("REST     {}/v2", self.fact("rest_url")),
            format!("gRPC     {}", self.fact("grpc_url")),
        ]);
        if self.executed_stages == 0 {
            lines.push("no stage was executed: everything was known already".to_owned());
        }
        let next = [
            "ropewalk status",
            "ropewalk sql \"SELECT carrier, avg(late) FROM features GROUP BY carrier ORDER BY 2 DESC\"",
            "ropewalk serve",
        ];
        lines.extend([String::new(), format!("next     cd {}", root.display())]);
        lines.extend(next.iter().map(|command| format!("         {command}")));
        lines.push(format!("         ropewalk trace prediction:{}\n", self.fact("sample_prediction_id")));
        lines.join("\n")
    }
}
