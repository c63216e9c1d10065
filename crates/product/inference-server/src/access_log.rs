mod payloads;

use std::fmt::Write as _;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use ropewalk_store::files;
use serde::Serialize;

use crate::InferenceServerError;
use crate::traces::TraceId;
pub(crate) use payloads::PayloadSample;

/// Lines that wait for the disk; what comes then is given up and counted.
const WAITING: usize = 8192;

/// Where access lines go, and of how many requests.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogOptions {
    /// The file, to which lines are added; none is standard error.
    pub file: Option<PathBuf>,
    /// Share of the requests, from 0 to 1. Failures on our side are always written.
    pub sample: f64,
}

impl AccessLogOptions {
    /// `stderr`, or a file.
    pub fn new(to: &str, sample: f64) -> Self {
        Self { file: (to != "stderr").then(|| PathBuf::from(to)), sample }
    }
}

/// What is said of one request: never a body, a query or a credential.
#[derive(Debug, Serialize)]
pub(crate) struct AccessLine<'a> {
    pub(crate) listener: &'static str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grpc_status: Option<u16>,
    pub(crate) micros: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<TraceId>,
}

#[derive(Serialize)]
struct Timed<'a> {
    time: String,
    #[serde(flatten)]
    line: AccessLine<'a>,
}

enum Message {
    Line(String),
    Flush(tokio::sync::oneshot::Sender<()>),
}

/// Writes lines of JSON on a thread of its own: a slow disk never holds up a request.
#[derive(Debug)]
pub(crate) struct AccessLog {
    sender: SyncSender<Message>,
    /// Of so many requests in 2^32 a line is written.
    threshold: u64,
    seen: AtomicU64,
    lost: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens the file and starts the thread, which ends with the last sender.
    pub(crate) fn open(options: &AccessLogOptions, lost: Arc<AtomicU64>) -> Result<Self, InferenceServerError> {
        let target: Box<dyn Write + Send> = match &options.file {
            Some(path) => Box::new(files::open_append(path)?),
            None => Box::new(std::io::stderr()),
        };
        let (sender, receiver) = sync_channel(WAITING);
        let failures = Arc::clone(&lost);
        let written = move || {
            let mut target = target;
            for message in receiver {
                match message {
                    Message::Line(line) => {
                        if target.write_all(line.as_bytes()).is_err() {
                            failures.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    // Who waited for it may be gone.
                    Message::Flush(done) => drop(done.send(())),
                }
            }
        };
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(written);
        thread.map_err(|error| InferenceServerError::Serve(format!("cannot start a thread: {error}")))?;
        let threshold = (options.sample.clamp(0.0, 1.0) * f64::from(u32::MAX)).round() as u64;
        Ok(Self { sender, threshold, seen: AtomicU64::new(0), lost })
    }

    /// Writes a line if this request is one of the sample, or failed.
    pub(crate) fn write<'a>(&self, failed: bool, line: impl FnOnce() -> AccessLine<'a>) {
        if !failed && !self.is_chosen() {
            return;
        }
        let Ok(mut text) = serde_json::to_string(&Timed { time: now(), line: line() }) else { return };
        let _ = writeln!(text);
        self.line_write(text);
    }

    /// Writes a line that ends as lines do.
    fn line_write(&self, text: String) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.sender.try_send(Message::Line(text)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Evenly spread: the sum of the shares of all requests so far has passed a whole number.
    fn is_chosen(&self) -> bool {
        let before = self.seen.fetch_add(self.threshold, Ordering::Relaxed);
        let whole = u64::from(u32::MAX);
        before.wrapping_add(self.threshold) / whole != before / whole
    }

    /// Waits until what was written so far is out, for as long as `limit`.
    pub(crate) async fn flush(&self, limit: Duration) {
        let (done, waits) = tokio::sync::oneshot::channel();
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(limit, waits).await;
        }
    }
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(status: u16) -> AccessLine<'static> {
        AccessLine {
            listener: "rest",
            method: "POST",
            path: "/v2/models/m/infer\n\"",
            status,
            grpc_status: None,
            micros: 30,
            peer: None,
            client: Some("shop"),
            request_bytes: None,
            trace: None,
        }
    }

    #[tokio::test]
    async fn a_sample_of_lines_and_all_failures_are_written() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("access.jsonl");
        let options = AccessLogOptions { file: Some(path.clone()), sample: 0.25 };
        let lost = Arc::new(AtomicU64::new(0));
        let log = AccessLog::open(&options, Arc::clone(&lost)).expect("log");
        for _ in 0..100 {
            log.write(false, || line(200));
        }
        log.write(true, || line(500));
        log.flush(Duration::from_secs(10)).await;
        let text = files::read_text(&path, 1 << 20).expect("text");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON, one line each")).collect();
        let good = lines.iter().filter(|line| line["status"] == 200).count();
        assert!((24..=26).contains(&good), "{good} of 100");
        assert_eq!(lines.last().expect("a line")["status"], 500);
        assert_eq!(lines[0]["client"], "shop");
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }
}
