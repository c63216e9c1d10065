use std::path::Path;

use ropewalk_connectors::{MONGODB_TESTED_AGAINST, redacted};
use ropewalk_execution::Program;
use ropewalk_inference_server::{EngineFinding, Environment, engine_findings};
use ropewalk_store::link_support;
use ropewalk_types::Diagnose;
use serde::Serialize;

use crate::{Access, OpenProject};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// Whether it is as it should be.
    pub good: bool,
    /// What was found, and what to do about it.
    pub detail: String,
}

impl Finding {
    fn good(what: &str, detail: impl Into<String>) -> Self {
        Self { what: what.to_owned(), good: true, detail: detail.into() }
    }

    fn of(what: &str, error: &dyn Diagnose) -> Self {
        let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
        Self { what: what.to_owned(), good: false, detail: format!("{error}{hint}") }
    }
}

/// Looks whether what a project needs is there; `start` is in or below its folder.
pub async fn examine(start: &Path, access: Access, environment: &Environment) -> Vec<Finding> {
    let mut findings = vec![
        Finding::good("program", format!("ropewalk {}", env!("CARGO_PKG_VERSION"))),
        git(start).await,
        document_store(),
    ];
    findings.extend(engine_findings(environment).into_iter().map(engine));
    match OpenProject::find(start) {
        Err(error) => findings.push(Finding::of("project", &error)),
        Ok(root) => match OpenProject::open(&root, access).await {
            Err(error) => findings.push(Finding::of("project", &error)),
            Ok(project) => {
                findings.push(Finding::good("project", format!("{} in {}", project.file.project.name, root.display())));
                findings.push(Finding::good("storage", project.file.backends.storage.clone()));
                findings.push(Finding::good("catalog", redacted(&project.file.backends.catalog)));
                findings.push(pipeline(&project));
                findings.push(checkout(&root));
                project.close().await;
            }
        },
    }
    findings
}

fn pipeline(project: &OpenProject) -> Finding {
    match crate::planning::plan(&project.root, &project.file) {
        Ok(planned) => Finding::good("pipeline", format!("{} stages", planned.plan.stages().len())),
        Err(error) => Finding::of("pipeline", &error),
    }
}

/// An engine of models. One that is not here is no fault: the others serve what they can.
fn engine(found: EngineFinding) -> Finding {
    let what = format!("engine {}", found.name);
    let detail = if found.available { found.detail } else { format!("not here: {}", found.detail) };
    Finding { what, good: true, detail }
}

/// How files come from the store into the work tree.
fn checkout(root: &Path) -> Finding {
    match link_support(root) {
        Err(error) => Finding::of("checkout", &error),
        Ok(support) => {
            let how = match (support.reflink, support.hardlink) {
                (true, _) => "clones that share their blocks",
                (false, true) => "copies, and read-only hard links for large files",
                (false, false) => "copies",
            };
            Finding::good("checkout", how)
        }
    }
}

/// Which server a source was tried against that cannot be had everywhere.
fn document_store() -> Finding {
    Finding::good("mongodb", MONGODB_TESTED_AGAINST)
}

/// Git is wanted, not needed: without it a run's code is named by its digest.
async fn git(directory: &Path) -> Finding {
    let program = Program {
        name: "git".to_owned(),
        arguments: vec!["--version".to_owned()],
        directory: directory.to_owned(),
        limit: 1 << 16,
    };
    match program.run().await {
        Ok(told) if told.exit.success() => Finding::good("git", told.output.trim_end()),
        _ => Finding::good("git", "not found: runs name their code by its digest instead of a commit"),
    }
}
