use std::collections::BTreeMap;
use std::process::ExitCode;

use ropewalk_registry::{
    Approval, Better, Change, DeclaredGate, GateDeclaration, ModelVersion, RegisteredModel, Registry, RegistryError,
};
use ropewalk_server::ServerError;
use ropewalk_types::{Alias, ModelName, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::arguments::{
    AliasCommand, Approve, Format, GateCommand, GateSet, Models, ModelsCommand, RoleCommand, Shared,
};
use crate::commands;
use crate::failure::{Ending, WORK_FAILED};
use crate::output::{bytes, json, listing, moment, printable, text};
use crate::terminal;

/// A model as a listing has it.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a ModelName,
    created_at: Timestamp,
    latest: Option<&'a ModelVersion>,
    aliases: &'a BTreeMap<Alias, u64>,
}

pub(super) async fn run(shared: &Shared, arguments: Models) -> Ending {
    let who = commands::access()?.who;
    let home = commands::open_home(shared, &arguments.kept).await?;
    let ended = Box::pin(dispatch(shared, home.registry(), arguments.command, &who)).await;
    home.close().await;
    match ended {
        // The user's model failed, not the command.
        Err(error @ RegistryError::Refused { .. }) => {
            terminal::say(&printable(&format!("error: {error}")));
            Ok(WORK_FAILED.into())
        }
        Err(error) => Err(ServerError::from(error)),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

async fn dispatch(
    shared: &Shared,
    registry: &Registry,
    command: ModelsCommand,
    who: &str,
) -> Result<(), RegistryError> {
    match command {
        ModelsCommand::Ls => list(shared, &registry.model_list().await?),
        ModelsCommand::Show { name } => {
            let (model, gates) = (registry.model_get(&name).await?, registry.gate_list(&name, false).await?);
            show(shared, &model, &gates);
        }
        ModelsCommand::Versions { name } => versions(shared, &registry.version_list(&name).await?),
        ModelsCommand::Alias(AliasCommand::Set { name, alias, version, why }) => {
            let promotion = registry.alias_set(&name, &alias, version, who, &why).await?;
            let said = if promotion.moved { "is now" } else { "was already" };
            told(shared, &promotion, &format!("{name}@{alias} {said} version {version}"));
        }
        ModelsCommand::Alias(AliasCommand::Rm { name, alias, why }) => {
            let pointed = registry.alias_delete(&name, &alias, who, &why).await?;
            told(shared, &json!({ "alias": alias, "version": pointed }), &format!("{name} has no alias {alias}"));
        }
        ModelsCommand::Gate(command) => gate(shared, registry, command, who).await?,
        ModelsCommand::Approve(Approve { name, version, target, role, why }) => {
            let approval = registry.approve(&name, version, target, role.as_deref(), (who, &why)).await?;
            told(shared, &approval, &format!("{who} stands for models:/{name}/{version}"));
        }
        ModelsCommand::Role(command) => role(shared, registry, command).await?,
        ModelsCommand::History { name } => {
            history(shared, &registry.history(&name).await?, &registry.approval_list(&name).await.unwrap_or_default());
        }
    }
    Ok(())
}

/// The value as JSON, or the sentence.
fn told(shared: &Shared, value: &impl Serialize, sentence: &str) {
    match shared.output {
        Format::Json => json(value),
        Format::Text => text(&format!("{}\n", printable(sentence))),
    }
}

fn list(shared: &Shared, models: &[RegisteredModel]) {
    let listed: Vec<Listed<'_>> = models
        .iter()
        .map(|model| Listed {
            name: &model.name,
            created_at: model.created_at,
            latest: model.newest(),
            aliases: &model.aliases,
        })
        .collect();
    listing(shared.output, &listed, &["MODEL", "LATEST", "ALIASES", "RUN", "SIZE", "REGISTERED"], |model| {
        let latest = |cell: fn(&ModelVersion) -> String| model.latest.map(cell).unwrap_or_default();
        vec![
            model.name.to_string(),
            latest(|version| version.version.to_string()),
            pointing(model.aliases),
            latest(|version| version.run.clone().unwrap_or_default()),
            latest(size),
            latest(|version| moment(version.created_at.millis())),
        ]
    });
}

/// `champion=3 shadow=4`.
fn pointing(aliases: &BTreeMap<Alias, u64>) -> String {
    aliases.iter().map(|(alias, version)| format!("{alias}={version}")).collect::<Vec<_>>().join(" ")
}

fn size(version: &ModelVersion) -> String {
    version.content.as_ref().map(|content| bytes(content.size)).unwrap_or_default()
}

fn show(shared: &Shared, model: &RegisteredModel, gates: &[DeclaredGate]) {
    if shared.output == Format::Json {
        return json(&json!({ "model": model, "gates": gates }));
    }
    let mut lines = vec![model.name.to_string()];
    lines.extend(model.description.iter().filter(|text| !text.is_empty()).cloned());
    lines.extend(model.newest().map(|newest| format!("newest version: {}", newest.version)));
    if !model.aliases.is_empty() {
        lines.push(format!("aliases: {}", pointing(&model.aliases)));
    }
    lines.extend(model.tags.iter().map(|(key, value)| format!("tag {key}: {value}")));
    lines.extend(gates.iter().map(|gate| format!("gate of {}: {}", gate.target, declared(gate))));
    let lines: Vec<String> = lines.iter().map(|line| printable(line)).collect();
    text(&format!("{}\n", lines.join("\n")));
}

fn declared(gate: &DeclaredGate) -> String {
    gate.declaration.as_ref().map_or_else(|| "none".to_owned(), GateDeclaration::to_string)
}

fn versions(shared: &Shared, versions: &[ModelVersion]) {
    let headings = ["VERSION", "ALIASES", "STAGE", "RUN", "SIZE", "SOURCE", "REGISTERED"];
    listing(shared.output, versions, &headings, |version| {
        let aliases: Vec<&str> = version.aliases.iter().map(AsRef::as_ref).collect();
        vec![
            version.version.to_string(),
            aliases.join(" "),
            version.stage.to_string(),
            version.run.clone().unwrap_or_default(),
            size(version),
            version.source.clone(),
            moment(version.created_at.millis()),
        ]
    });
}

async fn gate(shared: &Shared, registry: &Registry, command: GateCommand, who: &str) -> Result<(), RegistryError> {
    match command {
        GateCommand::Set(set) => {
            let GateSet { name, target, conditions, higher, lower, signature, approval } = set;
            let better = match (higher, lower) {
                (Some(metric), _) => Some(Better { metric, lower: false }),
                (None, Some(metric)) => Some(Better { metric, lower: true }),
                (None, None) => None,
            };
            let declaration = GateDeclaration { conditions, better, signature, approval };
            let sentence = format!("before a version of {name} becomes {target}: {declaration}");
            registry.gate_declare(&name, target, Some(declaration.clone()), who).await?;
            told(shared, &declaration, &sentence);
        }
        GateCommand::Rm { name, target } => {
            let sentence = format!("nothing guards {target} of {name}");
            registry.gate_declare(&name, target, None, who).await?;
            told(shared, &json!(null), &sentence);
        }
        GateCommand::Show { name, all } => {
            let gates = registry.gate_list(&name, all).await?;
            listing(shared.output, &gates, &["TARGET", "GATE", "WHO", "WHEN"], |gate| {
                vec![gate.target.to_string(), declared(gate), gate.who.clone(), moment(gate.at.millis())]
            });
        }
    }
    Ok(())
}

async fn role(shared: &Shared, registry: &Registry, command: RoleCommand) -> Result<(), RegistryError> {
    match command {
        RoleCommand::Ls => {
            let roles = registry.role_list().await?;
            listing(shared.output, &roles, &["ROLE", "MEMBER"], |(role, member)| vec![role.clone(), member.clone()]);
        }
        RoleCommand::Add { role, member } => {
            registry.role_member_set(&role, &member, true).await?;
            told(shared, &json!({ "role": role, "member": member }), &format!("{member} has role:{role}"));
        }
        RoleCommand::Rm { role, member } => {
            registry.role_member_set(&role, &member, false).await?;
            told(shared, &json!({ "role": role }), &format!("{member} has not role:{role}"));
        }
    }
    Ok(())
}

fn history(shared: &Shared, changes: &[Change], approvals: &[Approval]) {
    if shared.output == Format::Json {
        return json(&json!({ "changes": changes, "approvals": approvals }));
    }
    let headings = ["WHEN", "TARGET", "FROM", "TO", "DONE", "WHO", "WHY", "FIGURES"];
    listing(Format::Text, changes, &headings, |change| {
        let version = |version: Option<u64>| version.map_or_else(|| "-".to_owned(), |version| version.to_string());
        vec![
            moment(change.at.millis()),
            change.target.to_string(),
            version(change.previous),
            version(change.version),
            if change.moved { "yes" } else { "refused" }.to_owned(),
            change.who.clone(),
            change.why.clone(),
            change.outcome.to_string(),
        ]
    });
    for approval in approvals {
        let Approval { version, target, who, why, at, .. } = approval;
        let target = target.as_ref().map_or_else(String::new, |target| format!(" as {target}"));
        let line = format!("{} {who} stood for version {version}{target}: {why}", moment(at.millis()));
        text(&format!("{}\n", printable(&line)));
    }
}
