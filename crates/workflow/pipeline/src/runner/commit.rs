use std::time::Instant;

use ropewalk_lineage::{Link, Relation, link};
use ropewalk_types::{RunStatus, Uri};

use super::Parts;
use crate::outcome::{Outcome, outcome_put};
use crate::{ArtifactKind, Executed, Input, PipelineError, StageContext, StageSpec};

impl Parts {
    /// Makes what a stage made visible: outcome, lineage, the records of other boxes and the end of the run, in one
    /// transaction.
    pub(super) async fn commit(
        &self,
        stage: &StageSpec,
        context: &StageContext,
        executed: Executed,
        started: Instant,
    ) -> Result<Outcome, PipelineError> {
        let outcome = Outcome {
            key: context.key,
            stage: stage.name.clone(),
            kind: stage.kind.to_owned(),
            run: context.recorder.run(),
            outputs: executed.outputs,
            summary: executed.summary,
            milliseconds: i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX),
            finished_at: self.ambient.now(),
        };
        let links = self.links(&outcome, context, executed.sources);
        let (recorder, records) = (std::sync::Arc::clone(&context.recorder), executed.records);
        let kept = outcome.clone();
        self.catalog
            .write(move |connection| {
                Box::pin(async move {
                    outcome_put(connection, &kept).await?;
                    link(connection, &links, kept.finished_at).await?;
                    for record in records {
                        record(&mut *connection).await?;
                    }
                    recorder.finish(connection, RunStatus::Finished).await
                })
            })
            .await?;
        Ok(outcome)
    }

    fn links(&self, outcome: &Outcome, context: &StageContext, sources: Vec<Uri>) -> Vec<Link> {
        let stage = Uri::Stage { name: outcome.stage.clone(), key: outcome.key };
        let run = Uri::Run { run: outcome.run, path: String::new() };
        let mut links = vec![
            Link { child: stage.clone(), parent: self.code.clone(), relation: Relation::RanCode },
            Link { child: run.clone(), parent: stage.clone(), relation: Relation::Executed },
        ];
        let read = context.inputs.values().filter_map(Input::uri).chain(sources);
        links.extend(read.map(|parent| Link { child: stage.clone(), parent, relation: Relation::Read }));
        for artifact in outcome.outputs.values() {
            links.extend(match &artifact.kind {
                ArtifactKind::Dataset { .. } => artifact.dataset_uri().map(|child| Link {
                    child,
                    parent: stage.clone(),
                    relation: Relation::Produced,
                }),
                ArtifactKind::File { path } => Some(Link {
                    child: Uri::Run { run: outcome.run, path: path.clone() },
                    parent: run.clone(),
                    relation: Relation::Produced,
                }),
                // The registry writes the link of a version that it makes.
                ArtifactKind::ModelVersion { .. } => None,
            });
        }
        links
    }
}
