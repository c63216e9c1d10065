use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ropewalk_store::Store;
use serde_json::Value;
use tempfile::TempDir;

/// A folder for one project, and the binary to use on it.
pub(crate) struct Project {
    folder: TempDir,
    /// Variables of every command, such as credentials.
    environment: Vec<(&'static str, String)>,
}

impl Project {
    pub(crate) fn new() -> Self {
        Self::in_environment(&[])
    }

    /// A project whose commands see these variables.
    pub(crate) fn in_environment(variables: &[(&'static str, String)]) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), environment: variables.to_vec() }
    }

    /// A project in a folder of its own below `place`.
    pub(crate) fn below(place: &Path) -> Self {
        Self { folder: tempfile::tempdir_in(place).expect("a folder"), environment: Vec::new() }
    }

    pub(crate) fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }

    /// The template of flights.
    pub(crate) fn flights() -> Self {
        let project = Self::new();
        project.succeed(&["init", "--template", "flights", "."]);
        project
    }

    /// A small project: three workbooks' worth of rows as CSV files in a zip, SQL, a trainer.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let project = Self::new();
        for (name, text) in files {
            project.write(name, text);
        }
        project
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("inside the project")).expect("folder");
        std::fs::write(path, text).expect("write");
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.args(arguments).current_dir(self.root()).stdin(Stdio::null());
        command.env_remove("ROPEWALK_PROJECT");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a command and kills it after `delay`; false if it ended before.
    pub(crate) fn killed(&self, arguments: &[&str], delay: Duration) -> bool {
        let mut child = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        // Waiting is what is tested here: the moment of the kill.
        std::thread::park_timeout(delay);
        let ended = child.try_wait().expect("child");
        child.kill().expect("kill");
        child.wait().expect("wait");
        ended.is_none()
    }

    /// Kills a command again and again, later each time, then lets it end.
    pub(crate) fn killed_until_through(&self, arguments: &[&str], draws: &mut Draws) {
        let delays = [1.0, 3.0, 10.0, 20.0, 40.0, 80.0, 160.0];
        let killed =
            |delay: &f64| self.killed(arguments, Duration::from_secs_f64(delay * (0.5 + draws.next()) / 1000.0));
        let kills = delays.iter().map(killed).filter(|killed| *killed).count();
        assert!(kills > 1, "{arguments:?} was hardly killed on its way");
        self.succeed(arguments);
    }

    /// Starts a command and kills it once what lies below `folder` was seen to change `changes` times; false if it ended
    /// before.
    pub(crate) fn killed_at(&self, arguments: &[&str], folder: &Path, changes: usize) -> bool {
        let (mut seen, mut left) = (sizes_below(folder), changes);
        let mut child = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        while left > 0 && child.try_wait().expect("child").is_none() {
            let now = sizes_below(folder);
            if now == seen {
                std::thread::yield_now();
            } else {
                (seen, left) = (now, left - 1);
            }
        }
        child.kill().expect("kill");
        // No code: it was the signal that ended it.
        child.wait().expect("wait").code().is_none()
    }

    /// Runs a script to which the folder `small` is a file system of its own, of this size, and `$ropewalk` the binary. It is
    /// gone with the script: the mount namespace is its own, too.
    pub(crate) fn on_small_disk(&self, size: &str, script: &str) -> Output {
        std::fs::create_dir_all(self.path("small")).expect("folder");
        let script = format!("mount -t tmpfs -o size={size} none small || exit 77\n{script}");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", &script]).current_dir(self.root()).stdin(Stdio::null());
        command.env("ropewalk", env!("CARGO_BIN_EXE_ropewalk")).env_remove("ROPEWALK_PROJECT");
        command.output().expect("unshare")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    /// Runs a command that must end well; what it printed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?} ended with {}\n{}", output.status, talk(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        let text = self.succeed(&arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?} printed no JSON ({error}): {text}"))
    }

    /// Works on a store that lies in the project's folder, as another process would.
    pub(crate) fn in_store<T>(&self, folder: &str, work: impl AsyncFnOnce(Store) -> T) -> T {
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        runtime.block_on(async {
            let url = format!("file:{}", self.path(folder).display());
            work(Store::open(&url).await.expect("store")).await
        })
    }

    /// Runs a command that must end with `code`; what it said.
    pub(crate) fn fail(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{}", talk(&output));
        talk(&output)
    }
}

/// The files below a folder and their sizes; others may add and remove some meanwhile.
pub(crate) fn sizes_below(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let (mut sizes, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => {
                    sizes.insert(entry.path(), found.len());
                }
                Err(_) => {}
            }
        }
    }
    sizes
}

/// Moments for [`Project::killed_at`]: close to each other at the beginning, where most is decided.
pub(crate) fn moments() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(0_usize), |moment| Some(moment + moment / 4 + 1))
}

/// A place for a remote, and what its server asks for.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Where it is, if it is a folder of its own.
    pub(crate) folder: Option<TempDir>,
}

impl Place {
    pub(crate) fn local() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("file:{}", folder.path().join("remote").display());
        Self { url, environment: Vec::new(), folder: Some(folder) }
    }

    /// The store in this folder.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { url: format!("file:{}", folder.display()), environment: Vec::new(), folder: None }
    }

    pub(crate) fn s3() -> Self {
        let environment = s3_environment(&variable("ROPEWALK_TEST_S3_SECRET"));
        Self { url: s3_url(), environment, folder: None }
    }
}

/// Where the S3 server of the tests is, and what it asks for.
pub(crate) fn s3_environment(secret: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", variable("ROPEWALK_TEST_S3")),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", variable("ROPEWALK_TEST_S3_KEY")),
        ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
    ]
}

/// A place of its own on the S3 server.
pub(crate) fn s3_url() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (bucket, count) = (variable("ROPEWALK_TEST_S3_BUCKET"), COUNT.fetch_add(1, Ordering::Relaxed));
    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    format!("s3://{bucket}/{time}-{}-{count}", std::process::id())
}

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"))
}

/// Bytes that no compression makes fewer, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut draws = Draws(seed);
    (0..length).map(|_| (draws.next() * 256.0) as u8).collect()
}

/// Numbers in [0, 1), the same on every machine: SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How many entries a list has.
pub(crate) fn count(value: &Value) -> usize {
    value.as_array().unwrap_or_else(|| panic!("a list: {value}")).len()
}

/// What a command said on standard error.
pub(crate) fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The Python that has the foreign clients.
pub(crate) fn python() -> PathBuf {
    let path = std::env::var_os("ROPEWALK_TEST_PYTHON");
    path.expect("ROPEWALK_TEST_PYTHON is not set: run the tests by `cargo xtask test`").into()
}

/// A script of `tests/python`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/python").join(name)
}

/// A child that does not outlive the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines that a child prints.
pub(crate) struct Lines(BufReader<ChildStdout>);

impl Lines {
    pub(crate) fn of(stdout: ChildStdout) -> Self {
        Self(BufReader::new(stdout))
    }

    /// The JSON object that a child prints before it goes on.
    pub(crate) fn object(&mut self) -> Value {
        let mut text = String::new();
        loop {
            text += &self.next().unwrap_or_else(|| panic!("the child ended: {text}"));
            if let Ok(told) = serde_json::from_str(&text) {
                return told;
            }
        }
    }
}

impl Iterator for Lines {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.0.read_line(&mut line).expect("line") > 0).then(|| line.trim_end().to_owned())
    }
}

/// A suite of `tests/python`, to be run by [`passes`].
pub(crate) fn suite(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(python());
    command.args(["-m", "pytest", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider", "-W", "ignore"]);
    command.arg(script(name)).current_dir(folder);
    command
}

/// Runs a suite: all of it passes, and nothing is skipped, which would be a test that nobody sees missing.
pub(crate) fn passes(suite: &mut Command) {
    let output = suite.stdin(Stdio::null()).output().expect("python");
    let told = String::from_utf8_lossy(&output.stdout);
    let tail: Vec<&str> = told.lines().rev().take(200).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    assert!(output.status.success(), "{}\n{}", tail.join("\n"), String::from_utf8_lossy(&output.stderr));
    let counts = tail.last().expect("pytest ends with its counts");
    assert!(counts.contains(" passed") && !counts.contains("skipped"), "{}", tail.join("\n"));
}
