use std::collections::BTreeMap;
use std::net::IpAddr;

use ropewalk_types::{DatasetName, StageName, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::holds_password;
use crate::error::nearest;
use crate::{Backends, ConfigError, DataSource, Stage, StageTable};

/// `ropewalk.toml` as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectFile {
    /// What the project is.
    pub project: Project,
    /// Which engines stand behind the boxes.
    #[serde(default)]
    pub backends: Backends,
    /// Datasets that come from outside, by name.
    #[serde(default)]
    pub data: BTreeMap<DatasetName, DataSource>,
    /// Other stores that data is pushed to and pulled from, by name.
    #[serde(default)]
    pub remote: BTreeMap<String, Remote>,
    /// Stages, by name.
    #[serde(default)]
    pub stage: BTreeMap<StageName, StageTable>,
    /// What `ropewalk serve` serves.
    #[serde(default)]
    pub serve: Serve,
    /// What `ropewalk monitor` compares.
    #[serde(default)]
    pub monitor: Option<Monitor>,
}

/// `[project]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Its name: also the name of the experiment that its runs belong to.
    pub name: String,
    /// One sentence for people.
    #[serde(default)]
    pub description: String,
}

/// `[remote.NAME]`: another store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Its URL: `file:PATH`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
    pub url: String,
}

/// `[serve]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Serve {
    /// Models to serve, as `models:/NAME/VERSION` or `models:/NAME@ALIAS`.
    pub models: Vec<Uri>,
    /// Address to listen on; loopback unless said otherwise.
    pub host: IpAddr,
    /// Port of the REST protocol; 0 takes a free one.
    pub rest_port: u16,
    /// Port of the gRPC protocol; 0 takes a free one.
    pub grpc_port: u16,
}

impl Default for Serve {
    fn default() -> Self {
        Self { models: Vec::new(), host: IpAddr::from([127, 0, 0, 1]), rest_port: 8080, grpc_port: 8081 }
    }
}

/// `[monitor]`: how predictions meet the labels that come later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// The model to watch.
    pub model: Uri,
    /// The dataset that holds the labels.
    pub labels: DatasetName,
    /// Its column that equals a request's `id`.
    pub key: String,
    /// Its column of labels, 0 or 1.
    pub target: String,
    /// Its column that says when the thing predicted happened; the time of the request if absent.
    #[serde(default)]
    pub time: Option<String>,
    /// The output that scores the label 1: its last element of each row.
    #[serde(default = "probability")]
    pub score: String,
}

fn probability() -> String {
    "probability".to_owned()
}

impl ProjectFile {
    /// Reads and checks the text of a project file; `file` is its name in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let project: Self = toml::from_str(text).map_err(|error| ConfigError::syntax(file, &error))?;
        project.check(file)?;
        Ok(project)
    }

    /// The stages with their kinds, in the order of their names.
    pub fn stages(&self, file: &str) -> Result<Vec<(StageName, Stage)>, ConfigError> {
        self.stage.iter().map(|(name, table)| Ok((name.clone(), table.resolve(file, name.as_str())?))).collect()
    }

    /// The datasets that the project makes or takes, with the name of the stage that makes each.
    pub fn datasets(&self, file: &str) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut makers: BTreeMap<String, String> = BTreeMap::new();
        for name in self.data.keys() {
            makers.insert(name.to_string(), name.to_string());
        }
        for (name, stage) in self.stages(file)? {
            let Stage::Sql { out, .. } = stage else { continue };
            if let Some(other) = makers.insert(out.clone(), name.to_string()) {
                return Err(ConfigError::Meaning {
                    file: file.to_owned(),
                    place: format!("[stage.{name}]"),
                    message: format!("dataset `{out}` is made already by `{other}`"),
                    hint: Some("give one of them another `out`".to_owned()),
                });
            }
        }
        Ok(makers)
    }

    /// The whole project file as JSON, with the defaults filled in.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn check(&self, file: &str) -> Result<(), ConfigError> {
        let makers = self.datasets(file)?;
        let stages = self.stages(file)?;
        let names: Vec<&str> = stages.iter().map(|(name, _)| name.as_str()).collect();
        for (name, stage) in &stages {
            let place = format!("[stage.{name}]");
            if self.data.keys().any(|data| data.as_str() == name.as_str()) {
                return Err(meaning(file, &place, format!("`{name}` is also a dataset: [data.{name}]"), None));
            }
            match stage {
                Stage::Train(train) => known(file, &place, "dataset", &train.table, makers.keys().map(String::as_str))?,
                Stage::Register(register) => known(file, &place, "stage", &register.model, names.iter().copied())?,
                Stage::Run(command) => {
                    for input in &command.inputs {
                        let stage = input.split_once('.').map_or(input.as_str(), |(stage, _)| stage);
                        known(
                            file,
                            &place,
                            "dataset or stage",
                            stage,
                            makers.keys().map(String::as_str).chain(names.iter().copied()),
                        )?;
                    }
                }
                Stage::Sql { .. } => {}
            }
        }
        self.check_urls(file)?;
        for model in &self.serve.models {
            if !matches!(model, Uri::ModelVersion { .. } | Uri::ModelAlias { .. }) {
                let hint = "use models:/NAME/VERSION or models:/NAME@ALIAS".to_owned();
                return Err(meaning(file, "[serve]", format!("`{model}` is not a model"), Some(hint)));
            }
        }
        match &self.monitor {
            Some(monitor) => {
                known(file, "[monitor]", "dataset", monitor.labels.as_str(), makers.keys().map(String::as_str))
            }
            None => Ok(()),
        }
    }
}

impl ProjectFile {
    fn check_urls(&self, file: &str) -> Result<(), ConfigError> {
        for (name, data) in &self.data {
            if data.source.all().iter().any(|url| holds_password(url)) {
                let hint = "leave it out, and write password = { env = \"VARIABLE\" }; an `@` that ends no password is \
                            written as %40";
                return Err(meaning(
                    file,
                    &format!("[data.{name}]"),
                    "the URL holds a password".to_owned(),
                    Some(hint.to_owned()),
                ));
            }
        }
        match self.remote.iter().find(|(_, remote)| holds_password(&remote.url)) {
            None => Ok(()),
            Some((name, _)) => {
                let hint = "leave it out: credentials come from the environment and from profile files".to_owned();
                Err(meaning(file, &format!("[remote.{name}]"), "the URL holds a password".to_owned(), Some(hint)))
            }
        }
    }
}

fn meaning(file: &str, place: &str, message: String, hint: Option<String>) -> ConfigError {
    ConfigError::Meaning { file: file.to_owned(), place: place.to_owned(), message, hint }
}

fn known<'a>(
    file: &str,
    place: &str,
    what: &str,
    written: &str,
    all: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), ConfigError> {
    if all.clone().any(|one| one == written) {
        return Ok(());
    }
    let hint = nearest(written, all).map(|near| format!("did you mean `{near}`?"));
    Err(meaning(file, place, format!("there is no {what} `{written}`"), hint))
}

#[cfg(test)]
mod tests {
    use ropewalk_types::{Diagnose, Zone};

    use super::*;

    const GOOD: &str = r#"
[project]
name = "flight-delays"
[data.flights]
source = "data/flights.zip"
[stage.features]
sql = "sql/features.sql"
[stage.train]
train = { table = "features", target = "late", params = { trees = 200 } }
[stage.register]
register = { model = "train", name = "flight-delays", gate = "auc >= 0.66", alias = "champion" }
[stage.shap]
run = "python explain.py"
deps = ["explain.py"]
in = ["features", "train.model"]
out = { plot = "shap.png" }
[serve]
models = ["models:/flight-delays@champion"]
"#;

    fn error(from: &str, to: &str) -> ConfigError {
        assert!(GOOD.contains(from), "{from}");
        ProjectFile::parse("ropewalk.toml", &GOOD.replace(from, to)).expect_err(to)
    }

    #[test]
    fn the_sketch_of_the_design_is_read() {
        let file = ProjectFile::parse("ropewalk.toml", GOOD).expect("good");
        assert_eq!(file.backends, Backends::default());
        assert_eq!(file.data.values().next().map(|data| data.zone), Some(Zone::Raw));
        let stages = file.stages("ropewalk.toml").expect("stages");
        assert_eq!(stages.len(), 4);
        let Stage::Train(train) = &stages[3].1 else { panic!("{stages:?}") };
        assert_eq!(train.settings["params"]["trees"], 200);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_a_suggestion() {
        let error = error("source =", "sorce =");
        assert!(error.to_string().contains("sorce"), "{error}");
        assert_eq!(error.hint().as_deref(), Some("did you mean `source`?"));
    }

    #[test]
    fn names_must_be_known() {
        let wrong = error("table = \"features\"", "table = \"featurs\"");
        assert_eq!(wrong.to_string(), "ropewalk.toml: [stage.train]: there is no dataset `featurs`");
        assert_eq!(wrong.hint().as_deref(), Some("did you mean `features`?"));
        assert!(error("model = \"train\"", "model = \"flights\"").to_string().contains("no stage `flights`"));
    }

    #[test]
    fn a_password_is_in_no_project_file() {
        for url in [
            "postgres://me:secret@db/x",
            "https://a:b@host",
            "postgres://me:sec?secret@db/x",
            "postgres://me:12/secret@db/x",
            "postgres://me:12?secret@db/x",
            "postgres://me@server:12#secret@db/x",
        ] {
            let wrong = error("source = \"data/flights.zip\"", &format!("source = \"{url}\""));
            assert!(wrong.to_string().contains("[data.flights]: the URL holds a password"), "{wrong}");
            assert!(!wrong.to_string().contains("secret"), "{wrong}");
        }
        let remote = error("[serve]", "[remote.r]\nurl = \"s3://key:secret@bucket\"\n[serve]");
        assert!(remote.to_string().contains("[remote.r]"), "{remote}");
        for url in [
            "postgres://me@db:5432/x?a=b:c@d",
            "http://localhost:8000/items?owner=ada@example.com",
            "s3://bucket/2024-01-01T00:00:00/a@b.csv",
            "https://host/@scope/x",
        ] {
            let text = GOOD.replace("data/flights.zip", url);
            assert!(ProjectFile::parse("ropewalk.toml", &text).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_stage_does_one_thing_and_stays_inside() {
        assert!(error("sql = ", "run = \"x\"\nsql = ").to_string().contains("more than one thing"));
        assert!(error("deps = [\"explain.py\"]", "deps = [\"../x\"]").to_string().contains("leaves the project"));
        assert!(error("sql = \"sql", "deps = [\"a\"]\nsql = \"sql").to_string().contains("`deps` has no meaning"));
        assert!(error("models = [\"models:/", "models = [\"data:").to_string().contains("is not a"));
    }
}
