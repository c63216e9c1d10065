use std::collections::BTreeMap;
use std::path::PathBuf;

use ropewalk_config::{DataSource, FILE_NAME, ProjectFile, Register, Stage, Train};
use ropewalk_pipeline::{CommandSettings, InputSource, Plan, StageSpec};
use ropewalk_store::files;
use ropewalk_types::{DatasetName, StageName};
use serde_json::{Value, json};

use crate::ServerError;
use crate::kinds::referenced_tables;

/// Longest file of SQL that is read, in bytes.
const LONGEST_SQL: u64 = 1 << 20;

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
        specs.push(ingest(name, source)?);
    }
    for (name, stage) in file.stages(FILE_NAME)? {
        let spec = match stage {
            Stage::Sql { path, out } => {
                code.push(PathBuf::from(&path));
                sql(root, name, &path, &out, &makers)?
            }
            Stage::Train(settings) => train(name, &settings, &makers)?,
            Stage::Run(command) => {
                code.extend(command.deps.iter().map(PathBuf::from));
                run(name, command, &makers)?
            }
            Stage::Register(settings) => register(name, &settings)?,
        };
        specs.push(spec);
    }
    code.sort();
    code.dedup();
    Ok(Planned { plan: Plan::new(specs)?, code })
}

fn ingest(name: &DatasetName, source: &DataSource) -> Result<StageSpec, ServerError> {
    let mut settings = json!({ "out": name, "zone": source.zone, "source": source.source });
    if let Value::Object(settings) = &mut settings {
        let optional = [
            ("sheet", source.sheet.clone().map(Value::from)),
            ("null_texts", source.null_texts.clone().map(Value::from)),
            ("type_tolerance", source.type_tolerance.map(Value::from)),
        ];
        settings.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    Ok(StageSpec { name: stage_name(name.as_str())?, kind: "ingest", settings, inputs: BTreeMap::new() })
}

fn sql(
    root: &std::path::Path,
    name: StageName,
    path: &str,
    out: &str,
    makers: &BTreeMap<String, String>,
) -> Result<StageSpec, ServerError> {
    let text = files::read_bounded(&root.join(path), LONGEST_SQL)?;
    let tables = referenced_tables(&String::from_utf8_lossy(&text))?;
    // A table that no stage makes is a common table expression, or a mistake that the engine will name.
    let inputs = tables.iter().filter_map(|table| Some((table.clone(), makers.get(table)?)));
    let inputs =
        inputs.map(|(table, maker)| Ok((table, from_stage(maker, None)?))).collect::<Result<_, ServerError>>()?;
    Ok(StageSpec { name, kind: "sql", settings: json!({ "path": path, "out": out }), inputs })
}

fn train(name: StageName, train: &Train, makers: &BTreeMap<String, String>) -> Result<StageSpec, ServerError> {
    let maker = makers.get(&train.table).map_or(train.table.as_str(), String::as_str);
    let inputs = BTreeMap::from([("table".to_owned(), from_stage(maker, None)?)]);
    Ok(StageSpec { name, kind: "train", settings: Value::Object(train.settings.clone()), inputs })
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
    Ok(StageSpec { name, kind: "run", settings: json!(settings), inputs })
}

fn register(name: StageName, register: &Register) -> Result<StageSpec, ServerError> {
    let settings = json!({ "name": register.name, "gate": register.gate, "alias": register.alias });
    let inputs = BTreeMap::from([("model".to_owned(), from_stage(&register.model, Some("model".to_owned()))?)]);
    Ok(StageSpec { name, kind: "register", settings, inputs })
}

fn from_stage(stage: &str, output: Option<String>) -> Result<InputSource, ServerError> {
    Ok(InputSource { stage: stage_name(stage)?, output })
}

fn stage_name(name: &str) -> Result<StageName, ServerError> {
    Ok(StageName::new(name)?)
}
