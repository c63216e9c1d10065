mod replay;
mod story;

use std::process::ExitCode;
use std::time::Instant;

use ropewalk_inference_server::InferenceServer;
use ropewalk_pipeline::{RunReport, StageState};
use ropewalk_server::{ModelServer, OpenProject, ServerError};
use ropewalk_store::files;
use ropewalk_types::Uri;

use crate::arguments::{Demo, Format, Shared, Template};
use crate::commands::{self, run, serve};
use crate::failure::{Ending, WORK_FAILED};
use crate::{output, template, terminal};
use story::{Step, Story};

/// Everything once: the same calls that `init`, `run`, `serve`, `monitor` and `trace` make.
pub(super) async fn run(shared: &Shared, arguments: Demo) -> Ending {
    let mut story = Story::default();
    let folder = &arguments.dir;
    story
        .step("init", async {
            let made = !template::is_project(folder)?;
            if made {
                template::write(Template::Flights, folder)?;
            }
            Ok((made, format!("project in {}", folder.display())))
        })
        .await?;
    let root = std::path::absolute(folder).map_err(|error| ServerError::Serve(error.to_string()))?;
    let project = OpenProject::open(&root, commands::access()?).await?;

    let result = run::pipeline(&project, run::options(None)).await?;
    story.stages(&result.report);
    if result.report.failed() {
        story.tell(shared.output, &root);
        return Ok(WORK_FAILED.into());
    }
    let server = serving(&project, &mut story).await?;
    replaying(&project, server.server(), &mut story).await?;
    watching(&project, &mut story).await?;
    following(&project, &mut story).await?;
    story.urls(server.server());
    story.tell(shared.output, &root);
    if arguments.keep_serving {
        terminal::say("serving until Ctrl-C");
        serve::until_interrupted(server).await?;
    } else {
        server.stop().await?;
    }
    project.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn serving(project: &OpenProject, story: &mut Story) -> Result<ModelServer, ServerError> {
    let mut options = project.serve_options();
    // The demo must not fail because something else listens already; its URLs are in the summary.
    (options.port, options.grpc_port) = (0, 0);
    let begun = Instant::now();
    let server = project.serve(&options, &commands::environment()).await?;
    let loaded = server.server().models();
    let models: Vec<String> = loaded.iter().map(|model| format!("{}/{}", model.name, model.version)).collect();
    story.push(Step::executed("serve", begun, models.join(", ")));
    Ok(server)
}

/// Sends the flights of the held-out months as requests, one for each flight, unless this version answered them before.
async fn replaying(project: &OpenProject, server: &InferenceServer, story: &mut Story) -> Result<(), ServerError> {
    let begun = Instant::now();
    let flights = replay::flights(project, server).await?;
    let answered = project.prediction_count().await?;
    if answered >= flights.len() as u64 {
        story.push(Step::known("replay", begun, format!("{answered} flights were asked before")));
        return Ok(());
    }
    replay::send(server, &flights).await?;
    server.flush().await?;
    story.push(Step::executed("replay", begun, format!("{} flights asked over REST", flights.len())));
    Ok(())
}

async fn watching(project: &OpenProject, story: &mut Story) -> Result<(), ServerError> {
    let begun = Instant::now();
    let report = project.monitor().await?;
    files::write_atomic(&project.root().join("report.html"), report.html().as_bytes())?;
    story.monitored(&report);
    story.push(Step::executed("monitor", begun, "report.html".to_owned()));
    Ok(())
}

async fn following(project: &OpenProject, story: &mut Story) -> Result<(), ServerError> {
    let begun = Instant::now();
    let sample = project.prediction_sample().await?;
    let thread = project.trace(&Uri::Prediction(sample)).await?;
    story.sample(sample, super::trace::drawn(&thread));
    story.push(Step::executed("trace", begun, format!("prediction:{sample}")));
    Ok(())
}
