use std::collections::BTreeMap;

use ropewalk_types::{DatasetName, StageName, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::holds_password;
use crate::error::nearest;
use crate::{Backends, ConfigError, DataSource, Serve, Stage, StageTable};

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
            let Some(out) = stage.dataset() else { continue };
            if let Some(other) = makers.insert(out.to_owned(), name.to_string()) {
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
                Stage::Predict { predict, .. } => {
                    known(file, &place, "dataset", &predict.table, makers.keys().map(String::as_str))?;
                    if !matches!(predict.uri(), Ok(Some(_))) {
                        known(file, &place, "stage", predict.stage().0, names.iter().copied())?;
                    }
                }
                Stage::Sql { .. } => {}
            }
            self.check_declares(file, name, stage, &makers)?;
        }
        self.check_data(file)?;
        self.serve.check(file)?;
        match &self.monitor {
            Some(monitor) => {
                known(file, "[monitor]", "dataset", monitor.labels.as_str(), makers.keys().map(String::as_str))
            }
            None => Ok(()),
        }
    }
}

impl ProjectFile {
    /// What is declared by the name of a stage must not be taken for what is declared of a dataset.
    fn check_declares(
        &self,
        file: &str,
        name: &StageName,
        stage: &Stage,
        makers: &BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        let declares = self.stage.get(name).is_some_and(|table| table.declares.is_some());
        match makers.get(name.as_str()).filter(|_| declares && stage.dataset().is_none()) {
            None => Ok(()),
            Some(maker) => {
                let message = format!("it has `declares`, and `{name}` is also the dataset that `{maker}` makes");
                let hint = "give the stage or the dataset another name".to_owned();
                Err(meaning(file, &format!("[stage.{name}]"), message, Some(hint)))
            }
        }
    }

    fn check_data(&self, file: &str) -> Result<(), ConfigError> {
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
            let reason = data.reason.as_deref().map(str::trim);
            if reason.is_some_and(|reason| reason.is_empty() || data.classification.is_none()) {
                let hint = "it says why a classification is lower than what is inherited".to_owned();
                let message = "`reason` belongs beside a classification".to_owned();
                return Err(meaning(file, &format!("[data.{name}]"), message, Some(hint)));
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
    fn a_gate_needs_an_alias_and_one_direction() {
        let alias = "alias = \"champion\"";
        let more = "alias = \"champion\", higher = \"auc\", signature = true, approval = [\"role:reviewer\"]";
        let file = ProjectFile::parse("ropewalk.toml", &GOOD.replace(alias, more)).expect("good");
        let stages = file.stages("ropewalk.toml").expect("stages");
        let register = stages.iter().find_map(|(_, stage)| match stage {
            Stage::Register(register) => Some(register.clone()),
            _ => None,
        });
        assert_eq!(register.expect("register").approval, Some(vec!["role:reviewer".to_owned()]));
        let none = error(", alias = \"champion\"", "");
        assert!(none.to_string().contains("names no alias"), "{none}");
        let both = error(alias, "alias = \"champion\", higher = \"auc\", lower = \"loss\"");
        assert!(both.to_string().contains("both `higher` and `lower`"), "{both}");
    }

    #[test]
    fn a_stage_scores_by_a_registered_model_or_by_another_stages() {
        let with = |model: &str, more: &str| {
            let predict = format!("[stage.scores]\npredict = {{ model = \"{model}\", table = \"features\" }}\n{more}");
            ProjectFile::parse("f", &GOOD.replace("[serve]", &format!("{predict}\n[serve]")))
        };
        for model in ["models:/flight-delays@champion", "models:/flight-delays/3", "train", "shap.plot"] {
            let file = with(model, "out = \"scored\"").expect(model);
            assert_eq!(file.datasets("f").expect("datasets")["scored"], "scores", "{model}");
        }
        assert_eq!(with("train", "").expect("good").datasets("f").expect("datasets")["scores"], "scores");
        for (model, more, says) in [
            ("trian", "", "no stage `trian`"),
            ("data:features@1", "", "is not a model"),
            ("models:/flight-delays", "", "is not a model"),
            ("train", "deps = [\"x\"]", "`deps` has no meaning"),
            ("train", "checks = [{ column = \"x\" }]", "`checks` has no meaning"),
            ("train", "out = { model = \"x\" }", "is one dataset"),
            ("train", "out = \"features\"", "is made already by"),
        ] {
            let error = with(model, more).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn names_must_be_known() {
        let wrong = error("table = \"features\"", "table = \"featurs\"");
        assert_eq!(wrong.to_string(), "ropewalk.toml: [stage.train]: there is no dataset `featurs`");
        assert_eq!(wrong.hint().as_deref(), Some("did you mean `features`?"));
        assert!(error("model = \"train\"", "model = \"flights\"").to_string().contains("no stage `flights`"));
    }

    #[test]
    fn what_is_declared_of_what_a_stage_makes() {
        let with = |stage: &str, declares: &str| {
            let table = format!("[stage.{stage}]\n");
            assert!(GOOD.contains(&table), "{stage}");
            let text = GOOD.replace(&table, &format!("{table}declares = {{ {declares} }}\n"));
            ProjectFile::parse("ropewalk.toml", &text).map_err(|error| error.to_string())
        };
        let all = "classification = 'internal', reason = 'sums', owner = 'ada', description = 'd', retention_days = 9";
        let file = with("features", all).expect("a dataset");
        let name = StageName::new("features").expect("name");
        let declares = file.stage[&name].declares.clone().expect("declares");
        assert_eq!((declares.owner.as_deref(), declares.retention_days), (Some("ada"), Some(9)));
        for good in ["owner = 'ada'", "retention_days = 9", "description = 'd'"] {
            assert!(with("features", good).is_ok(), "{good}");
        }
        for stage in ["train", "shap"] {
            assert!(with(stage, "classification = 'public', reason = 'no names', owner = 'ada'").is_ok(), "{stage}");
            let error = with(stage, "retention_days = 9").expect_err("no dataset");
            assert!(error.contains("`retention_days` is for stages that make a dataset"), "{error}");
        }
        for (declares, says) in [
            ("classification = 'public'", "a classification and no reason"),
            ("classification = 'public', reason = ' '", "a classification and no reason"),
            ("reason = 'why not'", "says nothing"),
            ("", "says nothing"),
            ("ower = 'ada'", "ower"),
        ] {
            let error = with("features", declares).expect_err(declares);
            assert!(error.contains(says), "{declares}: {error}");
        }
        assert!(with("register", "owner = 'ada'").expect_err("no output").contains("`declares`"));
        let twice = GOOD.replace("sql = \"sql/features.sql\"", "sql = \"sql/features.sql\"\nout = \"shap\"");
        let twice = twice
            .replace("\"features\"", "\"shap\"")
            .replace("[stage.shap]\n", "[stage.shap]\ndeclares = { owner = 'ada' }\n");
        let error = ProjectFile::parse("ropewalk.toml", &twice).expect_err("two things of one name").to_string();
        assert!(error.contains("also the dataset that `features` makes"), "{error}");
    }

    #[test]
    fn a_reason_belongs_beside_a_classification() {
        let source = "source = \"data/flights.zip\"";
        let with = |more: &str| ProjectFile::parse("f", &GOOD.replace(source, &format!("{source}\n{more}")));
        assert!(with("classification = \"public\"\nreason = \"on the web\"").is_ok());
        for wrong in ["reason = \"on the web\"", "classification = \"public\"\nreason = \"\""] {
            let error = with(wrong).expect_err(wrong).to_string();
            assert!(error.contains("[data.flights]: `reason` belongs beside a classification"), "{error}");
        }
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
