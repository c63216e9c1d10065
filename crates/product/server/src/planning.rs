use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ropewalk_config::{DataSource, FILE_NAME, Predict, ProjectFile, Register, Stage, Train};
use ropewalk_data::{TableMention, check_tables, referenced_tables};
use ropewalk_pipeline::{CommandSettings, InputSource, Plan, StageSpec};
use ropewalk_store::files;
use ropewalk_types::{DatasetName, Diagnose, StageName, Uri};
use serde_json::{Map, Value, json};

use crate::ServerError;
use crate::collecting::TRACKED_KIND;
use crate::kinds::{DeclaredChecks, PredictSettings, SCORED, SCORER, SUBJECT, TrackedSettings, declared};

/// Longest file of SQL that is read, in bytes.
const LONGEST_SQL: u64 = 1 << 20;

/// Stages that look at a dataset are called after it.
pub(crate) const CHECKS_OF: &str = "check-";

/// The pipeline that a project file describes.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    /// The files that are the project's code, relative to its root.
    pub(crate) code: Vec<PathBuf>,
}

/// Turns the tables of a project file into stages, and finds out what each reads.
pub(crate) fn plan(root: &std::path::Path, file: &ProjectFile) -> Result<Planned, ServerError> {
    let makers = file.datasets(FILE_NAME)?;
    let mut code = vec![PathBuf::from(FILE_NAME)];
    let mut specs = Vec::new();
    for (name, source) in &file.data {
        specs.push(source_stage(name, source)?);
        specs.extend(checks(&format!("data.{name}"), name, &source.checks, &makers)?);
    }
    let stages = file.stages(FILE_NAME)?;
    let aliased = aliased(&stages);
    for (name, stage) in stages {
        let spec = match stage {
            Stage::Sql { path, out } => {
                code.push(PathBuf::from(&path));
                if let Some(table) = file.stage.get(&name) {
                    let dataset = DatasetName::new(out.clone())?;
                    specs.extend(checks(&format!("stage.{name}"), &dataset, &table.checks, &makers)?);
                }
                sql(root, name, &path, &out, &makers)?
            }
            Stage::Train(settings) => train(name, &settings, &makers)?,
            Stage::Run(command) => {
                code.extend(command.deps.iter().map(PathBuf::from));
                run(name, command, &makers)?
            }
            Stage::Register(settings) => register(name, &settings)?,
            Stage::Predict { predict, out } => scores(name, &predict, &out, &makers, &aliased)?,
        };
        specs.push(spec);
    }
    code.sort();
    code.dedup();
    refuse_files_as_tables(&specs)?;
    wait_for_checks(&mut specs);
    Ok(Planned { plan: Plan::new(specs)?, code })
}

/// The stage that brings a dataset from outside.
fn source_stage(name: &DatasetName, source: &DataSource) -> Result<StageSpec, ServerError> {
    let stage = stage_name(name.as_str())?;
    let (inputs, after) = (BTreeMap::new(), BTreeSet::new());
    if let Some((dataset, version)) = tracked_source(source) {
        let settings = TrackedSettings { out: name.clone(), zone: source.zone, dataset, version };
        return Ok(StageSpec { name: stage, kind: TRACKED_KIND, settings: json!(settings), inputs, after });
    }
    let settings = json!({ "out": name, "source": source.reading() });
    Ok(StageSpec { name: stage, kind: "ingest", settings, inputs, after })
}

/// The tracked dataset that a source names as `data:NAME` or `data:NAME@VERSION`, and the version if it says one: else
/// what the `.dataset` file names.
pub(crate) fn tracked_source(source: &DataSource) -> Option<(DatasetName, Option<String>)> {
    let all = source.source.all();
    let [one] = all.as_slice() else { return None };
    let text = one.strip_prefix("data:")?;
    if text.contains('@')
        && let Ok(Uri::Data { name, version }) = one.parse()
    {
        return Some((name, Some(version)));
    }
    Some((DatasetName::new(text).ok()?, None))
}

/// A name for the table of the rows that files of this name hold: the name itself is taken. Without dots, which would have to
/// be quoted in the project file.
pub(crate) fn rows_name(files: &str) -> String {
    format!("{}_rows", files.replace('.', "_"))
}

/// Tracked files are files, also where they hold rows: a stage that reads rows cannot read them.
fn refuse_files_as_tables(specs: &[StageSpec]) -> Result<(), ServerError> {
    let tracked: BTreeSet<&StageName> =
        specs.iter().filter(|spec| spec.kind == TRACKED_KIND).map(|spec| &spec.name).collect();
    for spec in specs.iter().filter(|spec| matches!(spec.kind, "sql" | "train" | "check" | "predict")) {
        if let Some(input) = spec.inputs.values().find(|input| tracked.contains(&input.stage)) {
            let (stage, dataset) = (spec.name.clone(), input.stage.clone());
            return Err(ServerError::Part(FilesAsTable { stage, dataset }.into()));
        }
    }
    Ok(())
}

/// A stage wants rows of a dataset of tracked files.
#[derive(Debug, thiserror::Error)]
#[error("stage `{stage}` reads `{dataset}` as a table, but its source `data:…` gives files, which have no rows")]
struct FilesAsTable {
    stage: StageName,
    dataset: StageName,
}

impl Diagnose for FilesAsTable {
    fn code(&self) -> &'static str {
        "server.files_as_table"
    }

    fn hint(&self) -> Option<String> {
        let rows = rows_name(self.dataset.as_str());
        Some(format!(
            "name the files where they lie, such as [data.{rows}] source = \"FOLDER/*.csv\", and read that: they are \
             read into a table; `data:NAME` is for stages of kind `run`"
        ))
    }
}

/// The stage that looks whether a dataset is what it is declared to be, if it is declared to be anything.
fn checks(
    place: &str,
    dataset: &DatasetName,
    tables: &[Map<String, Value>],
    makers: &BTreeMap<String, String>,
) -> Result<Option<StageSpec>, ServerError> {
    let checks = declared(place, tables)?;
    if checks.is_empty() {
        return Ok(None);
    }
    let maker = |name: &str| makers.get(name).map_or(name, String::as_str).to_owned();
    let mut inputs = BTreeMap::from([(SUBJECT.to_owned(), from_stage(&maker(dataset.as_str()), None)?)]);
    for other in check_tables(dataset, &checks)? {
        inputs.insert(other.clone(), from_stage(&maker(&other), None)?);
    }
    let settings = json!(DeclaredChecks { dataset: dataset.clone(), checks });
    let name = stage_name(&format!("{CHECKS_OF}{dataset}"))?;
    Ok(Some(StageSpec { name, kind: "check", settings, inputs, after: BTreeSet::new() }))
}

/// Nothing reads a dataset before its checks have held, but the checks themselves.
fn wait_for_checks(specs: &mut [StageSpec]) {
    let subjects = specs.iter().filter(|spec| spec.kind == "check");
    let subjects = subjects.filter_map(|spec| Some((spec.inputs.get(SUBJECT)?.stage.clone(), spec.name.clone())));
    let checked: BTreeMap<StageName, StageName> = subjects.collect();
    for spec in specs.iter_mut().filter(|spec| spec.kind != "check") {
        let waits = spec.inputs.values().filter_map(|input| checked.get(&input.stage).cloned());
        spec.after.extend(waits.collect::<Vec<_>>());
    }
}

fn sql(
    root: &std::path::Path,
    name: StageName,
    path: &str,
    out: &str,
    makers: &BTreeMap<String, String>,
) -> Result<StageSpec, ServerError> {
    let text = files::read_bounded(&root.join(path), LONGEST_SQL)?;
    // SQL that cannot be read has no inputs: the stage fails and says why, and those that do not need it go on.
    let mentions = referenced_tables(&String::from_utf8_lossy(&text)).unwrap_or_default();
    // A table that no stage makes is a mistake that the engine will name.
    let inputs = mentions.into_iter().filter_map(|mention| match mention {
        TableMention::Table { name, version: None } => makers.get(&name).map(|maker| (name, maker)),
        _ => None,
    });
    let inputs =
        inputs.map(|(table, maker)| Ok((table, from_stage(maker, None)?))).collect::<Result<_, ServerError>>()?;
    Ok(StageSpec { name, kind: "sql", settings: json!({ "path": path, "out": out }), inputs, after: BTreeSet::new() })
}

fn train(name: StageName, train: &Train, makers: &BTreeMap<String, String>) -> Result<StageSpec, ServerError> {
    let maker = makers.get(&train.table).map_or(train.table.as_str(), String::as_str);
    let inputs = BTreeMap::from([("table".to_owned(), from_stage(maker, None)?)]);
    Ok(StageSpec {
        name,
        kind: "train",
        settings: Value::Object(train.settings.clone()),
        inputs,
        after: BTreeSet::new(),
    })
}

fn run(
    name: StageName,
    command: ropewalk_config::Command,
    makers: &BTreeMap<String, String>,
) -> Result<StageSpec, ServerError> {
    let mut inputs = BTreeMap::new();
    for input in &command.inputs {
        let (stage, output) = match input.split_once('.') {
            Some((stage, output)) => (stage, Some(output.to_owned())),
            None => (makers.get(input).map_or(input.as_str(), String::as_str), None),
        };
        inputs.insert(input.clone(), from_stage(stage, output)?);
    }
    let settings = CommandSettings {
        line: command.line,
        deps: command.deps,
        outputs: command.outputs,
        env: command.env,
        secrets: command.secrets,
    };
    Ok(StageSpec { name, kind: "run", settings: json!(settings), inputs, after: BTreeSet::new() })
}

fn register(name: StageName, register: &Register) -> Result<StageSpec, ServerError> {
    let settings = json!({
        "name": register.name,
        "gate": register.gate,
        "alias": register.alias,
        "higher": register.higher,
        "lower": register.lower,
        "signature": register.signature.unwrap_or(false),
        "approval": register.approval.as_deref().unwrap_or_default(),
    });
    let inputs = BTreeMap::from([("model".to_owned(), from_stage(&register.model, Some("model".to_owned()))?)]);
    Ok(StageSpec { name, kind: "register", settings, inputs, after: BTreeSet::new() })
}

/// The stages that move aliases, by the model and the alias.
fn aliased(stages: &[(StageName, Stage)]) -> BTreeMap<(String, String), StageName> {
    let moves = stages.iter().filter_map(|(stage, does)| match does {
        Stage::Register(Register { name, alias: Some(alias), .. }) => {
            Some(((name.clone(), alias.clone()), stage.clone()))
        }
        _ => None,
    });
    moves.collect()
}

/// A model that a stage makes is an input; one of the registry is looked up when the stage's turn has come, which is after the
/// stage that moves the alias.
fn scores(
    name: StageName,
    predict: &Predict,
    out: &str,
    makers: &BTreeMap<String, String>,
    aliased: &BTreeMap<(String, String), StageName>,
) -> Result<StageSpec, ServerError> {
    let maker = makers.get(&predict.table).map_or(predict.table.as_str(), String::as_str);
    let mut inputs = BTreeMap::from([(SCORED.to_owned(), from_stage(maker, None)?)]);
    let mut after = BTreeSet::new();
    let model = predict.uri().map_err(|error| ServerError::Unknown {
        what: format!("{FILE_NAME}: [stage.{name}]: {error}"),
        hint: "write models:/NAME@ALIAS, or the stage that makes the model".to_owned(),
    })?;
    match &model {
        None => {
            let (stage, output) = predict.stage();
            inputs.insert(SCORER.to_owned(), from_stage(stage, Some(output.to_owned()))?);
        }
        Some(Uri::ModelAlias { name, alias }) => {
            after.extend(aliased.get(&(name.to_string(), alias.to_string())).cloned());
        }
        Some(_) => {}
    }
    let settings = PredictSettings {
        out: DatasetName::new(out)?,
        model,
        columns: predict.columns.clone(),
        keep: predict.keep.clone(),
        prefix: predict.prefix.clone(),
    };
    Ok(StageSpec { name, kind: "predict", settings: json!(settings), inputs, after })
}

fn from_stage(stage: &str, output: Option<String>) -> Result<InputSource, ServerError> {
    Ok(InputSource { stage: stage_name(stage)?, output })
}

fn stage_name(name: &str) -> Result<StageName, ServerError> {
    Ok(StageName::new(name)?)
}
