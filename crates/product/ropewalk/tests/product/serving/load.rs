//! Clients that ask one model for as long as a test wants, and remember what they saw.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::{python, script};

/// Longer than anything here takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);
/// Between two requests of one client: the load leaves room for everything else.
const PAUSE: Duration = Duration::from_millis(4);
/// Before a client that was not answered asks again.
const LATER: Duration = Duration::from_millis(25);

/// A request as its client saw it answered.
#[derive(Clone, Debug)]
pub(super) struct Acknowledged {
    /// The client's own name of it.
    pub(super) request: String,
    pub(super) prediction: String,
    /// Seconds since 1970.
    pub(super) sent: f64,
    pub(super) at: f64,
    /// The outputs' data by name.
    pub(super) outputs: Value,
}

/// What clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) acknowledged: Vec<Acknowledged>,
    /// 503 with `Retry-After`, UNAVAILABLE.
    pub(super) refused: usize,
    /// Connections that could not be made, or ended before the answer.
    pub(super) broken: usize,
    /// Everything else.
    pub(super) wrong: Vec<String>,
}

/// Clients, each with a thread and a connection of its own.
pub(super) struct Clients {
    seen: Arc<Mutex<Seen>>,
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What a client sends: the body of its request of this name and number.
pub(super) type Body = fn(&str, usize) -> Value;

impl Clients {
    pub(super) fn none() -> Self {
        Self { seen: Arc::default(), done: Arc::default(), threads: Vec::new() }
    }

    /// Adds `count` clients of REST. Their requests are called `NAME-CLIENT-NUMBER`.
    pub(super) fn rest(mut self, name: &str, address: &str, count: usize, model: &'static str, body: Body) -> Self {
        for client in 0..count {
            let (seen, done) = (Arc::clone(&self.seen), Arc::clone(&self.done));
            let (name, address) = (format!("{name}-{client}"), address.to_owned());
            self.threads.push(std::thread::spawn(move || ask_on(&seen, &done, &name, &address, model, body)));
        }
        self
    }

    /// Adds a client of gRPC, `tritonclient`. It asks the model `flights`.
    pub(super) fn grpc(mut self, name: &str, address: &str) -> Self {
        let mut command = Command::new(python());
        command.arg(script("serving_grpc_load.py")).args([address, name]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let (seen, done) = (Arc::clone(&self.seen), Arc::clone(&self.done));
        self.threads.push(std::thread::spawn(move || {
            let mut stdin = child.stdin.take();
            for line in stdout.lines() {
                hear(&seen, &serde_json::from_str(&line.expect("a line")).expect("JSON"));
                if done.load(Ordering::Relaxed) {
                    // At the end of its input it stops.
                    drop(stdin.take());
                }
            }
            assert!(child.wait().expect("python").success());
        }));
        self
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no client panicked")
    }

    /// Waits until `count` more requests whose names begin so have been answered.
    pub(super) fn answered(&self, name: &str, count: usize) {
        let answered = || self.seen().acknowledged.iter().filter(|one| one.request.starts_with(name)).count();
        let goal = answered() + count;
        until(&format!("{count} answers to {name}"), || answered() >= goal);
    }

    /// Stops them; what they saw.
    pub(super) fn end(self) -> Seen {
        self.done.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client");
        }
        std::mem::take(&mut *self.seen.lock().expect("no client panicked"))
    }
}

/// Waits until a condition holds.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// An answer to a request of HTTP.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The head in lower case.
    head: String,
    pub(super) body: String,
}

/// A connection that is made where there is none.
pub(super) struct Connection {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    pub(super) fn to(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None }
    }

    /// One request and its answer; none if the connection could not be made or ended.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &str) -> Option<Answer> {
        let answer = self.try_ask(method, path, body);
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                let patient = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(patient, "no answer in {PATIENCE:?}: {method} {path}");
                self.stream = None;
                None
            }
        }
    }

    fn try_ask(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            self.stream = Some(BufReader::new(stream));
        }
        let stream = self.stream.as_mut().expect("just made");
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        stream.read_exact(&mut body)?;
        Ok(Answer { status, head, body: String::from_utf8(body).expect("text") })
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

fn ask_on(seen: &Mutex<Seen>, done: &AtomicBool, name: &str, address: &str, model: &str, body: Body) {
    let mut connection = Connection::to(address);
    let path = format!("/v2/models/{model}/infer");
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let request = format!("{name}-{number}");
        let body = body(&request, number).to_string();
        let sent = now();
        let answer = connection.ask("POST", &path, &body);
        let answered = answer.as_ref().is_some_and(|answer| answer.status == 200);
        seen.lock().expect("no client panicked").note(request, sent, answer);
        std::thread::park_timeout(if answered { PAUSE } else { LATER });
    }
}

impl Seen {
    /// What became of a request of REST that was sent then.
    fn note(&mut self, request: String, sent: f64, answer: Option<Answer>) {
        let at = now();
        match answer {
            None => self.broken += 1,
            Some(answer) if answer.status == 503 && answer.head.contains("\r\nretry-after: ") => self.refused += 1,
            Some(answer) if answer.status == 200 => {
                let told = answer.json();
                let prediction = told["parameters"]["prediction_id"].as_str().expect("an id").to_owned();
                let outputs = told["outputs"].as_array().expect("outputs").iter();
                let outputs =
                    outputs.map(|one| (one["name"].as_str().expect("a name").to_owned(), one["data"].clone()));
                let outputs = Value::Object(outputs.collect());
                self.acknowledged.push(Acknowledged { request, prediction, sent, at, outputs });
            }
            Some(answer) => self.wrong.push(format!("{request}: {}: {}", answer.status, answer.body)),
        }
    }
}

/// A line of `serving_grpc_load.py`.
fn hear(seen: &Mutex<Seen>, told: &Value) {
    let text = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("no {name}: {told}")).to_owned();
    let mut seen = seen.lock().expect("no client panicked");
    match told["status"].as_str() {
        None => {
            let number = |name: &str| told[name].as_f64().unwrap_or_else(|| panic!("no {name}: {told}"));
            let (sent, at, outputs) = (number("sent"), number("at"), told["outputs"].clone());
            let (request, prediction) = (text("request"), text("prediction"));
            seen.acknowledged.push(Acknowledged { request, prediction, sent, at, outputs });
        }
        Some("StatusCode.UNAVAILABLE") => seen.refused += 1,
        Some(_) => seen.wrong.push(told.to_string()),
    }
}

/// A request for the model `flights`, one row that its number decides.
pub(super) fn flight(name: &str, number: usize) -> Value {
    let row = number % 8;
    let carrier = ["AA", "B6", "Zürich", "UA"][row % 4];
    let column = |name: &str, kind: &str, value: Value| json!({"name": name, "shape": [1, 1], "datatype": kind, "data": [value]});
    json!({"id": name, "inputs": [
        column("a", "FP32", json!(row as f32 / 4.0)),
        column("b", "FP32", json!(-1.25)),
        column("carrier", "BYTES", json!(carrier)),
        column("month", "INT64", json!(row + 1)),
    ]})
}
