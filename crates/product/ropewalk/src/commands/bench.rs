use std::path::Path;
use std::process::ExitCode;

use ropewalk_batch::{ColumnChoice, TableFormat};
use ropewalk_load::{
    Content, Endpoint, EndpointSettings, Latency, LoadPlan, LoadReport, LoadRequests, Transport, load,
};
use ropewalk_server::ServerError;
use ropewalk_store::files;
use tokio::sync::watch;

use crate::arguments::{Bench, BenchServe, Format, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::{json, printable, table};
use crate::terminal;

/// Longest request that is read from a file, in bytes.
const LONGEST_BODY: u64 = 64 << 20;
/// Longest file of certificates, in bytes.
const LONGEST_CERTIFICATES: u64 = 4 << 20;

pub(super) async fn run(shared: &Shared, command: Bench) -> Ending {
    let Bench::Serve(arguments) = command;
    let endpoint = endpoint(&arguments)?;
    let requests = endpoint.requests(content(&arguments)?).await?;
    tell_requests(&requests);
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
        let (seconds, warm_up) = (arguments.seconds, arguments.warm_up);
        let plan = LoadPlan { concurrency: concurrency.get(), warm_up, seconds, rate: arguments.rate };
        terminal::say(&format!("asking {concurrency} at once"));
        reports.push(load(&endpoint, &requests, plan, stopped.clone()).await?);
    }
    interrupted.abort();
    tell(shared.output, &reports);
    let failed = reports.iter().any(|report| report.answered == 0);
    Ok(if failed { WORK_FAILED.into() } else { ExitCode::SUCCESS })
}

fn endpoint(arguments: &BenchServe) -> Result<Endpoint, ServerError> {
    let transport = match (&arguments.path, arguments.grpc, arguments.binary) {
        (Some(path), ..) => Transport::Path(path.clone()),
        (None, true, _) => Transport::Grpc,
        (None, false, true) => Transport::RestBinary,
        (None, false, false) => Transport::RestJson,
    };
    let mut headers = arguments.header.clone();
    if let Some(variable) = &arguments.key_env {
        let key = std::env::var(variable).map_err(|error| ServerError::Unknown {
            what: format!("the key in {variable} cannot be read: {error}"),
            hint: format!("export {variable}"),
        });
        headers.push(("authorization".to_owned(), format!("Bearer {}", key?)));
    }
    let trusted = arguments.cacert.as_deref().map(|path| files::read_bounded(path, LONGEST_CERTIFICATES));
    let settings = EndpointSettings {
        address: arguments.endpoint.clone(),
        transport,
        model: arguments.model.clone().unwrap_or_default(),
        version: arguments.version,
        headers,
        trusted: trusted.transpose()?,
    };
    Ok(Endpoint::new(settings)?)
}

fn content(arguments: &BenchServe) -> Result<Content, ServerError> {
    let rows = arguments.rows.map_or(1, std::num::NonZero::get);
    let Some(path) = arguments.input.as_deref() else { return Ok(Content::MadeUp { rows }) };
    if arguments.path.is_none() && TableFormat::of(path).is_some() {
        let choice = ColumnChoice { columns: arguments.columns.clone() };
        return Ok(Content::Table { path: path.to_owned(), rows, choice });
    }
    if arguments.rows.is_some() || !arguments.columns.is_empty() {
        return Err(no_table(path));
    }
    Ok(Content::Body(files::read_text(path, LONGEST_BODY)?))
}

fn no_table(path: &Path) -> ServerError {
    ServerError::Unknown {
        what: format!("{} is sent as it is: it has no rows or columns to choose", path.display()),
        hint: "leave --rows and --columns out, or give a table (.parquet, .csv, .tsv, .ndjson, .arrow)".to_owned(),
    }
}

fn tell_requests(requests: &LoadRequests) {
    if requests.is_cut {
        terminal::say(&format!("note: the first {} requests of the table are sent in turn", requests.count()));
    }
    for (column, count) in &requests.rounded {
        terminal::say(&printable(&format!(
            "note: {count} values of column `{column}` were rounded to the precision of the model's input"
        )));
    }
}

/// One line of the table: a report, from when its times count, and these.
type Line<'a> = (&'a LoadReport, &'static str, &'a Latency);

fn tell(format: Format, reports: &[LoadReport]) {
    if format == Format::Json {
        return json(&reports);
    }
    for (status, said) in reports.iter().flat_map(|report| &report.said) {
        terminal::say(&printable(&format!("note: {status}: {said}")));
    }
    let headings = [
        "AT ONCE", "ANSWERED", "PER S", "ROWS/S", "FROM", "P50 MS", "P90", "P95", "P99", "P99.9", "MAX", "UNSENT",
        "ERRORS",
    ];
    let lines: Vec<Line<'_>> = reports.iter().flat_map(lines).collect();
    table(&lines, &headings, |(report, from, times)| {
        let errors: Vec<String> = report.errors.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let mut cells = vec![
            report.concurrency.to_string(),
            report.answered.to_string(),
            format!("{:.0}", report.per_second),
            format!("{:.0}", report.rows_per_second),
            (*from).to_owned(),
        ];
        let times = [times.p50, times.p90, times.p95, times.p99, times.p999, times.max];
        cells.extend(times.iter().map(|time| format!("{time:.3}")));
        cells.push(report.unsent.to_string());
        cells.push(if errors.is_empty() { "0".to_owned() } else { errors.join(", ") });
        cells
    });
}

/// With a rate three: from due to answered, from sent to answered, and from due to sent while the client was free.
fn lines(report: &LoadReport) -> Vec<Line<'_>> {
    let first = if report.rate.is_some() { "due" } else { "sent" };
    let sent = report.from_send_ms.as_ref().map(|times| (report, "sent", times));
    let late = report.lateness_ms.as_ref().map(|times| (report, "(late)", times));
    std::iter::once((report, first, &report.latency_ms)).chain(sent).chain(late).collect()
}
