//! The disk of a project is full while its models are served.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::Served;
use super::killed::MODEL;
use super::load::{Connection, until};
use crate::harness::{Lines, Running, talk};

/// Rows of a large request: some fifty of them fill the memory of the log.
const ROWS: usize = 20_000;

/// A file system of its own, in a mount namespace that a child holds open.
struct Disk {
    holder: Running,
    folder: PathBuf,
}

impl Disk {
    fn new(folder: &Path, size: &str) -> Self {
        let script = format!("mount -t tmpfs -o size={size} none \"$0\" && echo '{{}}' && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", &script]).arg(folder);
        let mut holder = Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare"));
        Lines::of(holder.0.stdout.take().expect("stdout")).object();
        Self { holder, folder: folder.to_owned() }
    }

    /// A command whose working folder is the disk.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--preserve-credentials", "--target", &self.holder.0.id().to_string()]);
        command.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(&self.folder).args(words);
        command.stdin(Stdio::null()).env_remove("ROPEWALK_PROJECT");
        command
    }

    fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).output().expect("nsenter");
        assert!(output.status.success(), "{words:?}: {}", talk(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    fn ropewalk(&self, words: &[&str]) -> String {
        self.run(&[&[env!("CARGO_BIN_EXE_ropewalk")], words].concat())
    }

    /// What it tells goes to the file `said`, which is elsewhere.
    fn serve(&self, said: &Path) -> Served {
        let binary = env!("CARGO_BIN_EXE_ropewalk");
        let mut command = self.command(&[binary, "serve", "--port", "0", "--grpc-port", "0", "--output", "json"]);
        command.env_remove("RUST_LOG").stderr(File::create(said).expect("a file"));
        Served::of(command)
    }

    /// The ids of all predictions in the log; none is there twice.
    fn logged(&self) -> BTreeSet<String> {
        let told = self.ropewalk(&["sql", "SELECT prediction FROM predictions", "--output", "json"]);
        let rows: Value = serde_json::from_str(&told).expect("JSON");
        let rows = rows.as_array().expect("rows");
        let ids: BTreeSet<_> = rows.iter().map(|row| row["prediction"].as_str().expect("an id").to_owned()).collect();
        assert_eq!(ids.len(), rows.len(), "a prediction is twice in the log");
        ids
    }
}

/// A client that knows what it must be answered.
struct Client {
    connection: Connection,
    body: String,
    /// What a request of `rows` was answered first.
    expected: Option<Value>,
    predictions: BTreeSet<String>,
}

impl Client {
    fn new(address: &str, rows: usize) -> Self {
        let column = |name: &str, kind: &str, value: Value| json!({"name": name, "shape": [rows, 1], "datatype": kind, "data": vec![value; rows]});
        let inputs = [
            column("a", "FP32", json!(0.5)),
            column("b", "FP32", json!(-1.25)),
            column("carrier", "BYTES", json!("Zürich")),
            column("month", "INT64", json!(3)),
        ];
        let body = json!({"inputs": inputs}).to_string();
        Self { connection: Connection::to(address), body, expected: None, predictions: BTreeSet::new() }
    }

    /// Asks once, which must be answered, and always alike.
    fn ask(&mut self) {
        let answer = self.connection.ask("POST", "/v2/models/flights/infer", &self.body).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let mut told = answer.json();
        self.predictions.insert(told["parameters"]["prediction_id"].as_str().expect("an id").to_owned());
        let outputs = told["outputs"].take();
        assert!(*self.expected.get_or_insert_with(|| outputs.clone()) == outputs, "another answer to the same request");
    }

    /// Logged, on their way, lost; by `/metrics`.
    fn counts(&mut self) -> [usize; 3] {
        self.measured(["logged_total", "logging", "lost_total"])
    }

    fn is_failing(&mut self) -> bool {
        self.measured(["failing"]) == [1]
    }

    fn measured<const N: usize>(&mut self, names: [&str; N]) -> [usize; N] {
        let answer = self.connection.ask("GET", "/metrics", "").expect("an answer");
        names.map(|name| {
            let of = |line: &str| line.strip_prefix("ropewalk_predictions_")?.strip_prefix(name)?.trim().parse().ok();
            answer.body.lines().find_map(of).unwrap_or_else(|| panic!("no {name} in {}", answer.body))
        })
    }
}

#[test]
fn on_a_full_disk_requests_are_answered_and_what_is_lost_is_counted() {
    let scratch = tempfile::tempdir().expect("folder");
    let disk = Disk::new(scratch.path(), "160m");
    disk.run(&[
        "sh",
        "-c",
        "printf '[project]\\nname = \"p\"\\n[serve]\\nmodels = [\"flights=m.onnx\"]\\n' > ropewalk.toml",
    ]);
    disk.run(&["cp", MODEL, "m.onnx"]);
    let elsewhere = tempfile::tempdir().expect("folder");
    let said = elsewhere.path().join("said");
    let server = disk.serve(&said);
    let said = || std::fs::read_to_string(&said).expect("what it said");
    let (mut large, mut small) = (Client::new(server.address(), ROWS), Client::new(server.address(), 1));
    for _ in 0..5 {
        large.ask();
        small.ask();
    }
    until("what had room is logged", || large.counts() == [10, 0, 0]);
    assert_eq!((large.is_failing(), said().as_str()), (false, ""));

    disk.run(&["sh", "-c", "cat /dev/zero > filler 2> /dev/null; test -s filler"]);
    until("memory is full, too", || {
        large.ask();
        large.counts()[2] > 0
    });
    for _ in 0..20 {
        large.ask();
        small.ask();
        let ready = small.connection.ask("GET", "/v2/health/ready", "").expect("an answer");
        assert_eq!(ready.status, 200, "it can answer, and so it is ready");
    }
    assert!(large.is_failing());
    assert!(said().contains("predictions cannot be written, and wait in memory"), "{}", said());
    let full = large.counts();
    let [logged, waiting, lost] = full;
    assert_eq!(logged + waiting + lost, large.predictions.len() + small.predictions.len(), "{full:?}");
    assert!(waiting > 10 && lost >= 20, "{full:?}");

    disk.run(&["rm", "filler"]);
    until("it goes on by itself", || large.counts() == [logged + waiting, 0, lost] && !large.is_failing());
    assert!(said().contains("predictions are written again"), "{}", said());
    large.ask();
    until("what comes then is logged", || large.counts() == [logged + waiting + 1, 0, lost]);
    let answered: BTreeSet<String> = large.predictions.union(&small.predictions).cloned().collect();
    let found = disk.logged();
    assert_eq!(found.len(), logged + waiting + 1, "{full:?}");
    assert!(found.is_subset(&answered), "what nobody was answered is in the log");
    server.stop();
    assert_eq!(disk.logged(), found);
    let left = disk.run(&["ls", ".ropewalk/predictions"]);
    assert!(left.lines().all(|name| name == "writers" || name.is_empty()), "journals are left: {left}");
}
