use std::process::ExitCode;

use ropewalk_load::{Endpoint, LoadPlan, LoadReport, Transport, load};
use ropewalk_server::ServerError;
use ropewalk_store::files;
use tokio::sync::watch;

use crate::arguments::{Bench, BenchServe, Format, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::{json, table};
use crate::terminal;

/// Longest request that is read from a file, in bytes.
const LONGEST_BODY: u64 = 64 << 20;

pub(super) async fn run(shared: &Shared, command: Bench) -> Ending {
    let Bench::Serve(arguments) = command;
    let endpoint = endpoint(&arguments)?;
    let body = arguments.input.as_deref().map(|path| files::read_text(path, LONGEST_BODY)).transpose()?;
    let request = endpoint.request(arguments.rows.get(), body.as_deref()).await?;
    let (stop, stopped) = watch::channel(false);
    let interrupted = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            // Nobody listens any more if it is over.
            let _ = stop.send(true);
        }
        stop.closed().await;
    });
    let mut reports = Vec::new();
    for concurrency in &arguments.concurrency {
        if *stopped.borrow() {
            break;
        }
        let plan = LoadPlan { concurrency: concurrency.get(), seconds: arguments.seconds, rate: arguments.rate };
        terminal::say(&format!("asking {concurrency} at once"));
        reports.push(load(&endpoint, &request, plan, stopped.clone()).await);
    }
    interrupted.abort();
    tell(shared.output, &reports);
    let failed = reports.iter().any(|report| report.answered == 0);
    Ok(if failed { WORK_FAILED.into() } else { ExitCode::SUCCESS })
}

fn endpoint(arguments: &BenchServe) -> Result<Endpoint, ServerError> {
    let transport = match (arguments.grpc, arguments.binary) {
        (true, _) => Transport::Grpc,
        (false, true) => Transport::RestBinary,
        (false, false) => Transport::RestJson,
    };
    let key = arguments.key_env.as_deref().map(|variable| {
        std::env::var(variable).map_err(|error| ServerError::Unknown {
            what: format!("the key in {variable} cannot be read: {error}"),
            hint: format!("export {variable}"),
        })
    });
    Ok(Endpoint::new(&arguments.endpoint, transport, &arguments.model, arguments.version, key.transpose()?)?)
}

fn tell(format: Format, reports: &[LoadReport]) {
    if format == Format::Json {
        return json(&reports);
    }
    let headings = ["AT ONCE", "ANSWERED", "PER S", "ROWS/S", "P50 MS", "P90", "P95", "P99", "P99.9", "MAX", "ERRORS"];
    table(reports, &headings, |report| {
        let latency = &report.latency_ms;
        let errors: Vec<String> = report.errors.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let mut cells = vec![
            report.concurrency.to_string(),
            report.answered.to_string(),
            format!("{:.0}", report.per_second),
            format!("{:.0}", report.rows_per_second),
        ];
        let times = [latency.p50, latency.p90, latency.p95, latency.p99, latency.p999, latency.max];
        cells.extend(times.iter().map(|time| format!("{time:.3}")));
        cells.push(if errors.is_empty() { "0".to_owned() } else { errors.join(", ") });
        cells
    });
}
