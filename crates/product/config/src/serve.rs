//! `[serve]`: which models answer, where, for whom, and what is written down about it.

mod model;
mod place;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ropewalk_serving::RouteSettings;
use ropewalk_types::ModelName;
use serde::{Deserialize, Serialize};

use crate::ConfigError;

pub use model::{ModelSettingsTable, ServeBatching};
pub use place::{ModelPlace, ModelPlaceError};

/// `[serve]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Serve {
    /// Models to serve: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `runs:/RUN_ID/PATH`, a file, a folder.
    pub models: Vec<ModelPlace>,
    /// Address to listen on; loopback unless said otherwise.
    pub host: IpAddr,
    /// Port of REST; 0 takes a free one.
    #[serde(alias = "rest_port")]
    pub port: u16,
    /// Port of gRPC; 0 takes a free one.
    pub grpc_port: u16,
    /// Names, without port, under which clients may address the server besides `localhost` and addresses; `*` is any.
    pub allowed_hosts: Vec<String>,
    /// Who loads and unloads the models of folders.
    pub model_control: ModelControl,
    /// Seconds between two looks at folders, with `model_control = "poll"`.
    pub poll_seconds: u64,
    /// Seconds that requests under way may take once the server is told to stop.
    pub drain_seconds: u64,
    /// With it, both listeners speak TLS.
    pub tls: Option<ServeTls>,
    /// Keys of clients, by name.
    pub keys: BTreeMap<String, ServeKey>,
    /// Tokens that somebody else signs.
    pub jwt: Option<ServeJwt>,
    /// Which pages of other servers may ask.
    pub cors: ServeCors,
    /// How much is taken at once.
    pub limits: ServeLimits,
    /// What is written down.
    pub log: ServeLog,
    /// Where spans are sent; none are made without it.
    pub trace: Option<ServeTrace>,
    /// How single models are served, by name.
    pub model: BTreeMap<String, ModelSettingsTable>,
    /// How requests for one model are sent to its versions, by model.
    pub route: BTreeMap<String, RouteSettings>,
    /// Seconds between two looks at where the registry's aliases point.
    pub alias_seconds: u64,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            host: IpAddr::from([127, 0, 0, 1]),
            port: 8080,
            grpc_port: 8081,
            allowed_hosts: Vec::new(),
            model_control: ModelControl::None,
            poll_seconds: 15,
            drain_seconds: 20,
            tls: None,
            keys: BTreeMap::new(),
            jwt: None,
            cors: ServeCors::default(),
            limits: ServeLimits::default(),
            log: ServeLog::default(),
            trace: None,
            model: BTreeMap::new(),
            route: BTreeMap::new(),
            alias_seconds: 5,
        }
    }
}

/// Who loads and unloads the models of folders, in Triton's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelControl {
    /// All are loaded at the start, and stay.
    #[default]
    None,
    /// None is loaded at the start; clients load and unload them.
    Explicit,
    /// All are loaded at the start, and the folders are looked at again and again.
    Poll,
}

/// `[serve.tls]`, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeTls {
    /// The certificate, followed by those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[serve.keys.NAME]`: the key itself stands in the environment or in a file of its owner alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeKey {
    /// The variable of the environment that holds it.
    pub env: Option<String>,
    /// The file that holds it.
    pub file: Option<PathBuf>,
    /// The models that may be asked with it; empty for all.
    pub models: Vec<String>,
    /// Requests a second; none has the limit of `[serve.limits]`.
    pub rate: Option<f64>,
    /// Requests at once before the rate counts; by default those of one second.
    pub burst: Option<u32>,
}

/// `[serve.jwt]`: one of the three sources of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeJwt {
    /// A file with a secret, for HS256.
    pub secret_file: Option<PathBuf>,
    /// A file with a public key in PEM, for RS256 or ES256.
    pub key_file: Option<PathBuf>,
    /// A file with a JSON Web Key Set.
    pub jwks_file: Option<PathBuf>,
    /// For whom tokens must be.
    pub audience: Option<String>,
    /// By whom tokens must be.
    pub issuer: Option<String>,
    /// Seconds by which clocks may differ.
    pub leeway_seconds: Option<u64>,
}

/// `[serve.cors]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeCors {
    /// Exact origins, such as `https://app.example.com`.
    pub origins: Vec<String>,
}

/// `[serve.limits]`: what is beyond is refused at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeLimits {
    /// Open connections of each listener.
    pub connections: usize,
    /// Requests that are read, answered or written at the same time.
    pub requests: usize,
    /// Bytes of one request, after decompression, and of one gRPC message in either direction.
    pub body_bytes: usize,
    /// Bytes of bodies that are in memory at the same time.
    pub memory_bytes: usize,
    /// Seconds that a body may take to arrive.
    pub body_seconds: u64,
    /// Seconds that the head of a request may take.
    pub head_seconds: u64,
    /// Requests a second of each key, and of all that come without one; none has no limit.
    pub rate: Option<f64>,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            requests: 1024,
            body_bytes: 16 << 20,
            memory_bytes: 256 << 20,
            body_seconds: 30,
            head_seconds: 30,
            rate: None,
        }
    }
}

/// `[serve.log]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeLog {
    /// Where a line for each request goes: `stderr` or a file; none is written without it.
    pub access: Option<String>,
    /// Share of the requests of which a line is written, from 0 to 1; failures always are.
    pub access_sample: f64,
    /// Share of the answers of which inputs and outputs are written there, too, from 0 to 1; without what `redact` names.
    pub access_payloads: f64,
    /// Whether answers are kept as predictions.
    pub predictions: bool,
    /// Share of the answers whose values are kept, from 0 to 1.
    pub sample: f64,
    /// The share of single models, where it is another.
    pub sample_of: BTreeMap<ModelName, f64>,
    /// Columns whose values are not kept.
    pub redact: Vec<String>,
    /// Milliseconds that a prediction may wait for others before it is written.
    pub linger_ms: Option<u64>,
    /// Days that predictions are kept; none keeps them.
    pub keep_days: Option<u32>,
}

impl Default for ServeLog {
    fn default() -> Self {
        Self {
            access: None,
            access_sample: 1.0,
            access_payloads: 0.0,
            predictions: true,
            sample: 1.0,
            sample_of: BTreeMap::new(),
            redact: Vec::new(),
            linger_ms: None,
            keep_days: None,
        }
    }
}

/// `[serve.trace]`: spans by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeTrace {
    /// The collector, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Share of the traces that begin here which are kept, from 0 to 1; whoever begins one elsewhere decides there.
    #[serde(default = "all")]
    pub sample: f64,
    /// The name of this service.
    #[serde(default = "service")]
    pub service: String,
}

fn all() -> f64 {
    1.0
}

fn service() -> String {
    "ropewalk".to_owned()
}

/// A file with nothing but `[serve]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServeFile {
    serve: Serve,
}

impl Serve {
    /// Reads a file of its own, with the tables `[serve]` and below. `file` is its name, for errors.
    ///
    /// # Errors
    /// It is not TOML, a key is unknown, or what it says does not fit together.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let read: ServeFile = toml::from_str(text).map_err(|error| ConfigError::syntax(file, &error))?;
        read.serve.check(file)?;
        Ok(read.serve)
    }

    /// The same, with relative paths below `root`.
    #[must_use]
    pub fn below(mut self, root: &Path) -> Self {
        let place = |path: &mut PathBuf| *path = root.join(&*path);
        for model in &mut self.models {
            if let ModelPlace::Path { path, .. } = model {
                place(path);
            }
        }
        if let Some(tls) = &mut self.tls {
            place(&mut tls.certificate);
            place(&mut tls.key);
        }
        self.keys.values_mut().filter_map(|key| key.file.as_mut()).for_each(place);
        if let Some(jwt) = &mut self.jwt {
            [&mut jwt.secret_file, &mut jwt.key_file, &mut jwt.jwks_file].into_iter().flatten().for_each(place);
        }
        if let Some(access) = self.log.access.as_mut().filter(|access| *access != "stderr") {
            *access = root.join(&*access).display().to_string();
        }
        self
    }

    pub(crate) fn check(&self, file: &str) -> Result<(), ConfigError> {
        let wrong = |place: String, message: &str, hint: &str| {
            let (file, message) = (file.to_owned(), message.to_owned());
            Err(ConfigError::Meaning { file, place, message, hint: Some(hint.to_owned()) })
        };
        for (name, key) in &self.keys {
            if key.env.is_some() == key.file.is_some() {
                return wrong(format!("[serve.keys.{name}]"), "it has not one place", "give `env` or `file`");
            }
        }
        if let Some(jwt) = &self.jwt {
            let given = [&jwt.secret_file, &jwt.key_file, &jwt.jwks_file].into_iter().flatten().count();
            if given != 1 {
                let hint = "give one of `secret_file`, `key_file` and `jwks_file`";
                return wrong("[serve.jwt]".to_owned(), "it has not one source of keys", hint);
            }
        }
        let rates = self.keys.values().map(|key| key.rate).chain([self.limits.rate]).flatten();
        if rates.into_iter().any(|rate| !rate.is_finite() || rate <= 0.0) {
            return wrong("[serve]".to_owned(), "a `rate` is not above 0", "leave it out for no limit");
        }
        let traced = self.trace.as_ref().map_or(1.0, |trace| trace.sample);
        if [self.log.sample, self.log.access_sample, self.log.access_payloads, traced]
            .iter()
            .any(|share| !(0.0..=1.0).contains(share))
        {
            return wrong("[serve]".to_owned(), "a `sample` is no share", "give a number from 0 to 1");
        }
        for (name, route) in &self.route {
            if let Err(problem) = route.check() {
                let hint = "see \"Several versions of one model\" in docs/serving.md";
                return wrong(format!("[serve.route.{name}]"), &problem, hint);
            }
        }
        if self.log.sample_of.values().any(|share| !(0.0..=1.0).contains(share)) {
            return wrong("[serve.log]".to_owned(), "a `sample_of` is no share", "give numbers from 0 to 1");
        }
        self.model.iter().try_for_each(|(name, model)| model.check(file, name))
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Diagnose;

    use super::*;

    #[test]
    fn everything_is_read_and_old_names_still_are() {
        let text = r#"
[serve]
models = ["models:/flights@champion", "demand=models/demand.onnx", "models"]
rest_port = 0
grpc_port = 0
model_control = "explicit"
[serve.keys.shop]
env = "SHOP_KEY"
models = ["flights"]
rate = 10.5
[serve.model.flights]
engine = "embedded"
batching = { max_rows = 64, max_delay_us = 500 }
cpus = [0, 1]
[serve.log]
sample_of = { flights = 0.1 }
[serve.trace]
endpoint = "http://127.0.0.1:4318"
sample = 0.1
"#;
        let serve = Serve::parse("serve.toml", text).expect("good");
        assert_eq!((serve.port, serve.models.len(), serve.model_control), (0, 3, ModelControl::Explicit));
        assert_eq!(serve.model["flights"].batching.map(|batching| batching.max_rows), Some(64));
        assert_eq!(serve.keys["shop"].rate, Some(10.5));
        assert_eq!(serve.log.sample_of.values().collect::<Vec<_>>(), [&0.1]);
    }

    #[test]
    fn paths_of_a_project_are_below_it() {
        let text = "[serve]\nmodels = ['m=a.onnx', '/b.onnx', 'models:/m/1']\n[serve.log]\naccess = 'stderr'\n";
        let serve = Serve::parse("serve.toml", text).expect("good").below(Path::new("/project"));
        let models: Vec<String> = serve.models.iter().map(ToString::to_string).collect();
        assert_eq!(models, ["m=/project/a.onnx", "/b.onnx", "models:/m/1"]);
        assert_eq!(serve.log.access.as_deref(), Some("stderr"));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (text, says) in [
            ("[serve.keys.a]\n", "not one place"),
            ("[serve.keys.a]\nenv = 'A'\nfile = 'a'\n", "not one place"),
            ("[serve.keys.a]\nenv = 'A'\nrate = 0\n", "not above 0"),
            ("[serve.log]\nsample_of = { m = -0.5 }\n", "no share"),
            ("[serve.limits]\nrate = nan\n", "not above 0"),
            ("[serve.jwt]\naudience = 'a'\n", "not one source"),
            ("[serve.log]\nsample = 1.5\n", "no share"),
            ("[serve.model.m]\nengine = 'torch'\n", "no engine"),
            ("[serve.model.m]\nbatching = { max_rows = 0, max_delay_us = 1 }\n", "max_rows"),
            ("[serve]\nmodels = ['data:x@1']\n", "is not a model"),
            ("[serve]\nmodels = ['a=']\n", "names no file"),
        ] {
            let error = Serve::parse("serve.toml", text).expect_err(text);
            assert!(error.to_string().contains(says), "{text}: {error}");
        }
        let error = Serve::parse("serve.toml", "[serve]\nprot = 1\n").expect_err("a slip");
        assert_eq!(error.hint().as_deref(), Some("did you mean `port`?"));
    }
}
