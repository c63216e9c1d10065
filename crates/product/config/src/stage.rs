use std::collections::BTreeMap;

use ropewalk_types::Uri;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ConfigError, ModelPlace, ModelPlaceError};

/// `[stage.NAME]` as it is written: exactly one of `sql`, `train`, `run`, `register`, `predict` says what it does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageTable {
    /// Path of a file with one SELECT; its tables are the project's datasets.
    pub sql: Option<String>,
    /// Settings of a built-in trainer.
    pub train: Option<Train>,
    /// A command line for the shell.
    pub run: Option<String>,
    /// Registers a model.
    pub register: Option<Register>,
    /// Scores the rows of a dataset by a model.
    pub predict: Option<Predict>,
    /// `sql`, `predict`: name of the dataset that it makes. `run`: files that it makes, by name.
    pub out: Option<Out>,
    /// `run`: files of the project that it reads; their bytes are part of its key.
    pub deps: Vec<String>,
    /// `run`: datasets and stage outputs that it reads.
    #[serde(rename = "in")]
    pub inputs: Vec<String>,
    /// `run`: names of environment variables whose values are part of its key.
    pub env: Vec<String>,
    /// `run`: names of environment variables that it gets and that are never part of a key or a log.
    pub secrets: Vec<String>,
    /// `sql`: what must hold of the dataset that it makes; a stage of its own looks before anything reads it.
    pub checks: Vec<Map<String, Value>>,
    /// `sql`, `predict`, `train`, `run`: what is declared of what it makes, instead of what that inherits from what it is made from.
    pub declares: Option<Declares>,
}

/// `declares = { … }`; what it does not say is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Declares {
    /// `public`, `internal`, `confidential` or `personal`.
    pub classification: Option<String>,
    /// Why it is not what its sources are; kept in the audit trail. Needed beside a classification.
    pub reason: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// One sentence for people.
    pub description: Option<String>,
    /// Days after which a version is due for removal; of datasets only.
    pub retention_days: Option<u32>,
}

impl Declares {
    /// What is wrong with it for what a stage makes: a dataset, or what its run leaves behind; and what to do.
    fn fault(&self, of_dataset: bool) -> Option<(&'static str, &'static str)> {
        let reason = self.reason.as_deref().map(str::trim);
        let facts = [&self.classification, &self.owner, &self.description];
        if self.classification.is_some() && reason.is_none_or(str::is_empty) {
            let hint =
                "write reason = \"…\" beside it: it stands in place of what is inherited, and the reason is recorded";
            return Some(("`declares` has a classification and no reason", hint));
        }
        if self.retention_days.is_some() && !of_dataset {
            let hint = "leave it out: what a run leaves behind is kept with the run";
            return Some(("`retention_days` is for stages that make a dataset", hint));
        }
        if self.retention_days.is_none() && facts.iter().all(|fact| fact.is_none()) {
            let hint = "write classification and reason, owner, description or retention_days; or leave it out";
            return Some(("`declares` says nothing", hint));
        }
        None
    }
}

/// What a stage makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Out {
    /// One dataset.
    Dataset(String),
    /// Files by output name: where the command leaves them.
    Files(BTreeMap<String, String>),
}

/// `train = { table = …, … }`: the table, and the trainer's own settings as they are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Train {
    /// The dataset to learn from.
    pub table: String,
    /// What the trainer reads; it checks the keys itself.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

/// `predict = { model = …, table = … }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predict {
    /// `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `runs:/RUN_ID/PATH`, or the stage that makes the model, as `STAGE` or
    /// `STAGE.OUTPUT`.
    pub model: String,
    /// The dataset whose rows are scored.
    pub table: String,
    /// The columns of the model's one matrix, in its order; empty for those of the inputs' names, or else all numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The columns that stay beside the scores; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Vec<String>>,
    /// What the names of the scores begin with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

impl Predict {
    /// The model's URI, where it is no stage's.
    ///
    /// # Errors
    /// It is a URI of something else.
    pub fn uri(&self) -> Result<Option<Uri>, ModelPlaceError> {
        // No stage's name has a colon.
        if !self.model.contains(':') {
            return Ok(None);
        }
        match self.model.parse()? {
            ModelPlace::Uri(uri) => Ok(Some(uri)),
            ModelPlace::Path { .. } => Ok(None),
        }
    }

    /// The stage that makes the model, and which of its outputs that is.
    pub fn stage(&self) -> (&str, &str) {
        self.model.split_once('.').unwrap_or((&self.model, "model"))
    }
}

/// `register = { model = …, name = … }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The stage that makes the model.
    pub model: String,
    /// Name of the registered model.
    pub name: String,
    /// The conditions under which the alias may move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// The alias that moves to the new version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// A metric that must be higher than the incumbent's, on the same version of a dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub higher: Option<String>,
    /// A metric that must be lower than the incumbent's, on the same version of a dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<String>,
    /// Whether it must take and give what the incumbent takes and gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<bool>,
    /// Who may approve, as `NAME` or `role:NAME`; one of them must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Vec<String>>,
}

impl Register {
    /// What would be ignored in silence, and what to do.
    fn fault(&self) -> Option<(&'static str, &'static str)> {
        let signature = self.signature.unwrap_or(false);
        let gated = self.gate.is_some() || self.higher.is_some() || self.lower.is_some() || signature;
        if self.alias.is_none() && (gated || self.approval.is_some()) {
            return Some(("it says what must hold and names no alias that moves then", "add alias = \"champion\""));
        }
        let both = self.higher.is_some() && self.lower.is_some();
        both.then_some(("it has both `higher` and `lower`", "keep one; more comparisons go into `gate`"))
    }
}

/// A command of the user's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// The command line.
    pub line: String,
    /// Files of the project that it reads.
    pub deps: Vec<String>,
    /// Datasets and stage outputs that it reads.
    pub inputs: Vec<String>,
    /// Files that it makes, by output name.
    pub outputs: BTreeMap<String, String>,
    /// Environment variables that are part of its key.
    pub env: Vec<String>,
    /// Environment variables that are not.
    pub secrets: Vec<String>,
}

/// A stage, one of the kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// SQL over datasets makes a dataset.
    Sql {
        /// Path of the SELECT.
        path: String,
        /// The dataset that it makes.
        out: String,
    },
    /// A built-in trainer makes a model.
    Train(Train),
    /// A command makes files.
    Run(Command),
    /// A model becomes a version of a registered model.
    Register(Register),
    /// A model scores the rows of a dataset, which makes a dataset.
    Predict {
        /// What scores what.
        predict: Predict,
        /// The dataset that it makes.
        out: String,
    },
}

impl Stage {
    /// The dataset that it makes, if it makes one.
    pub fn dataset(&self) -> Option<&str> {
        match self {
            Self::Sql { out, .. } | Self::Predict { out, .. } => Some(out),
            Self::Train(_) | Self::Run(_) | Self::Register(_) => None,
        }
    }
}

impl StageTable {
    /// The stage's kind with its settings; `name` is the default of what a `sql` stage makes.
    pub(crate) fn resolve(&self, file: &str, name: &str) -> Result<Stage, ConfigError> {
        let wrong = |message: String, hint: &str| ConfigError::Meaning {
            file: file.to_owned(),
            place: format!("[stage.{name}]"),
            message,
            hint: Some(hint.to_owned()),
        };
        let said = [
            self.sql.is_some(),
            self.train.is_some(),
            self.run.is_some(),
            self.register.is_some(),
            self.predict.is_some(),
        ];
        if said.iter().filter(|said| **said).count() > 1 {
            let hint = "split it: one of `sql`, `train`, `run`, `register`, `predict` a stage";
            return Err(wrong("it does more than one thing".to_owned(), hint));
        }
        let stage = self.one(name, &wrong)?;
        self.refuse_strays(&stage, &wrong)?;
        Ok(stage)
    }

    /// What the table does, which says one thing at most.
    fn one(&self, name: &str, wrong: &impl Fn(String, &str) -> ConfigError) -> Result<Stage, ConfigError> {
        if let Some(path) = &self.sql {
            return Ok(Stage::Sql { path: path.clone(), out: self.dataset(name, wrong)? });
        }
        if let Some(train) = &self.train {
            return Ok(Stage::Train(train.clone()));
        }
        if let Some(line) = &self.run {
            return Ok(Stage::Run(self.command(line, wrong)?));
        }
        if let Some(register) = &self.register {
            return match register.fault() {
                Some((message, hint)) => Err(wrong(message.to_owned(), hint)),
                None => Ok(Stage::Register(register.clone())),
            };
        }
        if let Some(predict) = &self.predict {
            let hint = "write models:/NAME@ALIAS, or the stage that makes the model";
            predict.uri().map_err(|error| wrong(error.to_string(), hint))?;
            return Ok(Stage::Predict { predict: predict.clone(), out: self.dataset(name, wrong)? });
        }
        let hint = "give it one of `sql`, `train`, `run`, `register` or `predict`";
        Err(wrong("it does nothing".to_owned(), hint))
    }

    /// The dataset that a stage makes, which is called like the stage if nothing else is said.
    fn dataset(&self, name: &str, wrong: &impl Fn(String, &str) -> ConfigError) -> Result<String, ConfigError> {
        match &self.out {
            None => Ok(name.to_owned()),
            Some(Out::Dataset(out)) => Ok(out.clone()),
            Some(Out::Files(_)) => {
                Err(wrong("`out` of such a stage is one dataset".to_owned(), "write out = \"NAME\""))
            }
        }
    }

    fn command(&self, line: &str, wrong: &impl Fn(String, &str) -> ConfigError) -> Result<Command, ConfigError> {
        let outputs = match &self.out {
            Some(Out::Files(files)) if !files.is_empty() => files.clone(),
            _ => {
                let hint = "write out = { model = \"model.onnx\" }: each file that the command makes, by a name";
                return Err(wrong("a `run` stage must say which files it makes".to_owned(), hint));
            }
        };
        for path in outputs.values().chain(&self.deps) {
            if !stays_inside(path) {
                let hint = "paths are relative to the project, without `..`";
                return Err(wrong(format!("`{path}` leaves the project"), hint));
            }
        }
        Ok(Command {
            line: line.to_owned(),
            deps: self.deps.clone(),
            inputs: self.inputs.clone(),
            outputs,
            env: self.env.clone(),
            secrets: self.secrets.clone(),
        })
    }

    /// A key that belongs to another kind would be ignored in silence: refuse it.
    fn refuse_strays(&self, stage: &Stage, wrong: &impl Fn(String, &str) -> ConfigError) -> Result<(), ConfigError> {
        let made = stage.dataset().is_some();
        if let Some((message, hint)) = self.declares.as_ref().and_then(|declares| declares.fault(made)) {
            return Err(wrong(message.to_owned(), hint));
        }
        if matches!(stage, Stage::Run(_)) {
            let hint = "remove them";
            let stray = (!self.checks.is_empty()).then(|| wrong("`checks` are for `sql` stages".to_owned(), hint));
            return stray.map_or(Ok(()), Err);
        }
        let out_is_stray = self.out.is_some() && !made;
        let strays = [
            ("out", out_is_stray),
            ("checks", !matches!(stage, Stage::Sql { .. }) && !self.checks.is_empty()),
            ("declares", matches!(stage, Stage::Register(_)) && self.declares.is_some()),
            ("deps", !self.deps.is_empty()),
            ("in", !self.inputs.is_empty()),
            ("env", !self.env.is_empty()),
            ("secrets", !self.secrets.is_empty()),
        ];
        match strays.iter().find(|(_, stray)| *stray) {
            Some((key, _)) => Err(wrong(format!("`{key}` has no meaning for this kind of stage"), "remove it")),
            None => Ok(()),
        }
    }
}

/// Whether a path is relative and has no `..`, so that it names something in the project.
pub(crate) fn stays_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\0', '\\'])
        && std::path::Path::new(path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir))
}
