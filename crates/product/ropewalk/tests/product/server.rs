use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{ChildStderr, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Project, Running};

const API: &str = "/api/2.0/mlflow";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server of the binary, on a port of its own.
struct Server {
    running: Running,
    address: String,
    stderr: BufReader<ChildStderr>,
}

impl Server {
    fn start(project: &Project, arguments: &[&str]) -> Self {
        Self::with(project, arguments, &[])
    }

    /// Waits for the line that says that it is ready.
    fn with(project: &Project, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = project.command(&[&["server", "--port", "0"], arguments].concat());
        command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running(command.spawn().expect("starts"));
        let mut stderr = BufReader::new(running.0.stderr.take().expect("standard error"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        let url = line.trim_end().strip_prefix("ready: export MLFLOW_TRACKING_URI=http://");
        let address = url.unwrap_or_else(|| panic!("no server: {line}")).to_owned();
        Self { running, address, stderr }
    }

    fn open(&self, method: &str, path: &str, fields: &[&str], body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let host = if fields.iter().any(|field| field.starts_with("Host:")) { "" } else { "Host: localhost\r\n" };
        let fields = fields.iter().fold(String::new(), |head, field| head + field + "\r\n");
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{fields}\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
        BufReader::new(stream)
    }

    /// Status, and the answer after its head.
    fn ask(&self, method: &str, path: &str, fields: &[&str], body: &str) -> (u16, String) {
        let mut answer = String::new();
        self.open(method, path, fields, body).read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        (status, body.to_owned())
    }

    fn post(&self, path: &str, message: &Value) -> Value {
        let body = message.to_string();
        let (status, answer) = self.ask("POST", &format!("{API}{path}"), &["Content-Type: application/json"], &body);
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_str(&answer).expect("JSON")
    }

    fn begin(&self, name: &str) -> String {
        let run = self.post("/runs/create", &json!({"experiment_id": "0", "run_name": name, "start_time": 1}));
        run["run"]["info"]["run_id"].as_str().expect("id").to_owned()
    }

    fn log(&self, run: &str, step: i64, value: f64) {
        let metric = json!({"run_id": run, "key": "loss", "value": value, "timestamp": step, "step": step});
        self.post("/runs/log-metric", &metric);
    }

    /// Asks the server to end; what it said meanwhile. It must end well.
    fn stop(mut self) -> String {
        let id = self.running.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("what it said");
        assert!(self.running.0.wait().expect("ended").success(), "{said}");
        said
    }
}

/// One event of a stream: its fields by name. Comments are passed over.
fn next_event(stream: &mut BufReader<TcpStream>) -> Vec<(String, String)> {
    let mut event = Vec::new();
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).expect("a line") > 0, "the stream ended: {event:?}");
        let line = line.trim_end();
        match line.split_once(": ") {
            Some((name @ ("event" | "data" | "id"), value)) => event.push((name.to_owned(), value.to_owned())),
            _ if line.is_empty() && event.iter().any(|(name, _)| name == "data") => return event,
            // Sizes of chunks, the head, comments.
            _ => {}
        }
    }
}

fn field<'e>(event: &'e [(String, String)], name: &str) -> &'e str {
    &event.iter().find(|(one, _)| one == name).unwrap_or_else(|| panic!("no {name} in {event:?}")).1
}

#[test]
fn two_servers_and_a_command_share_one_folder_and_what_is_said_is_heard() {
    let project = Project::new();
    let (one, other) = (Server::start(&project, &["--data", "kept"]), Server::start(&project, &["--data", "kept"]));
    let run = one.begin("first");
    let mut listener = other.open("GET", &format!("/api/2.0/ropewalk/events?run_id={run}"), &[], "");
    let first = next_event(&mut listener);
    assert_eq!(field(&first, "event"), "reset");
    assert!(field(&next_event(&mut listener), "data").contains("RUNNING"));
    one.log(&run, 1, 0.5);
    let metric = next_event(&mut listener);
    let told: Value = serde_json::from_str(field(&metric, "data")).expect("JSON");
    assert_eq!((field(&metric, "event"), &told["value"], &told["step"]), ("metric", &json!(0.5), &json!(1)));
    drop(listener);

    // Who comes again with the last id hears what was missed, and nothing twice.
    one.log(&run, 2, 0.25);
    let last = format!("Last-Event-ID: {}", field(&metric, "id"));
    let mut listener = other.open("GET", &format!("/api/2.0/ropewalk/events?run_id={run}"), &[&last], "");
    assert!(field(&next_event(&mut listener), "data").contains("0.25"));

    one.post("/runs/update", &json!({"run_id": run, "status": "FINISHED", "end_time": 9}));
    assert!(field(&next_event(&mut listener), "data").contains("FINISHED"));
    let shown = project.json(&["runs", "show", &run[..8], "--data", "kept"]);
    assert_eq!((&shown["info"]["name"], &shown["info"]["status"]), (&json!("first"), &json!("FINISHED")));

    let (status, measures) = one.ask("GET", "/metrics", &[], "");
    assert_eq!(status, 200);
    let counted = "ropewalk_http_requests_total{endpoint=\"/api/2.0/mlflow/runs/log-metric\",status=\"200\"} 2";
    assert!(measures.contains(counted), "{measures}");

    // A listener does not hold a server that is told to stop.
    assert!(other.stop().contains("stopping"));
    one.stop();
    let again = Server::start(&project, &["--data", "kept"]);
    let (status, found) = again.ask("GET", &format!("{API}/runs/get?run_id={run}"), &[], "");
    assert!(status == 200 && found.contains("FINISHED"), "{found}");
}

#[test]
fn others_than_this_machine_need_credentials() {
    let project = Project::new();
    let said = project.fail(2, &["server", "--data", "kept", "--host", "0.0.0.0", "--port", "0"]);
    assert!(said.contains("credentials") && said.contains("--token-file"), "{said}");

    let token = ("ROPEWALK_SERVER_TOKEN", "0123456789abcdef");
    let server = Server::with(&project, &["--data", "kept", "--host", "0.0.0.0"], &[token]);
    let path = format!("{API}/experiments/get?experiment_id=0");
    let status = |path: &str, fields: &[&str]| server.ask("GET", path, fields, "").0;
    let bearer = "Authorization: Bearer 0123456789abcdef";
    assert_eq!(status(&path, &[bearer]), 200);
    // `any:0123456789abcdef`, as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD are sent.
    assert_eq!(status(&path, &["Authorization: Basic YW55OjAxMjM0NTY3ODlhYmNkZWY="]), 200);
    assert_eq!(status(&path, &["Host: evil.example.org", bearer]), 403);
    for path in [path.as_str(), "/metrics", "/api/2.0/ropewalk/events?experiment_id=0"] {
        assert_eq!(status(path, &[]), 401, "{path}");
        assert_eq!(status(path, &["Authorization: Bearer 0123456789abcdeg"]), 401, "{path}");
    }
    assert_eq!(status("/health", &[]), 200);
}

#[test]
fn what_is_odd_is_answered_in_the_protocols_shape() {
    let project = Project::new();
    let server = Server::start(&project, &["--data", "kept"]);
    for path in ["/nowhere", "/api/2.0/ropewalk/events", "/api/2.0/ropewalk/events?run_id=x"] {
        let (status, body) = server.ask("GET", path, &[], "");
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"));
        assert!((400..500).contains(&status) && answer["error_code"].is_string(), "{path}: {status} {answer}");
    }
    let absent = "0".repeat(32);
    let (status, body) = server.ask("GET", &format!("/api/2.0/ropewalk/events?run_id={absent}"), &[], "");
    assert!(status == 404 && body.contains("RESOURCE_DOES_NOT_EXIST"), "{status} {body}");
    let fields: Vec<String> = (0..200).map(|number| format!("X-Field-{number}: x")).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    assert_eq!(server.ask("GET", "/health", &fields, "").0, 431);
    assert_eq!(server.ask("GET", "/health", &[], ""), (200, "OK".to_owned()));

    let said = project.fail(2, &["server", "--port", "0"]);
    assert!(said.contains("--data"), "there is no project: {said}");
    let taken = server.address.rsplit_once(':').expect("a port").1;
    let said = project.fail(2, &["server", "--data", "kept", "--port", taken]);
    assert!(said.contains("cannot listen"), "{said}");
}

/// One process, and little memory where nobody asks anything.
#[cfg(target_os = "linux")]
#[test]
fn an_idle_server_is_small() {
    let project = Project::new();
    let server = Server::start(&project, &["--data", "kept"]);
    server.begin("warm");
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.running.0.id())).expect("status");
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kilobytes: u64 = kilobytes.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 60_000, "{kilobytes} kB");
}
