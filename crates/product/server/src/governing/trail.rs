//! What is done to tracked files, written into the audit trail before it is to be seen.

use std::future::Future;
use std::sync::Arc;

use ropewalk_data::{AuditAction, AuditEvent};
use ropewalk_types::{Ambient as _, Uri};
use ropewalk_versions::{Act, Intent, Trail, VersionsError};
use serde_json::{Value, json};

use crate::{ServerError, SystemAmbient};

/// A trail in which `who` does what is told, written by `write`.
pub(crate) fn trail_of<F>(who: String, write: impl Fn(AuditEvent) -> F + Send + Sync + 'static) -> Trail
where
    F: Future<Output = Result<(), ServerError>> + Send + 'static,
{
    Arc::new(move |intent| {
        let written = write(event(who.clone(), intent));
        Box::pin(async move { written.await.map_err(|error| VersionsError::Trail(error.into())) })
    })
}

fn event(who: String, intent: Intent) -> AuditEvent {
    let Intent { name, version, act } = intent;
    let object = match version {
        Some(version) => Uri::Data { name, version: version.to_string() }.to_string(),
        None => format!("data:{name}"),
    };
    let (action, details) = told(act);
    AuditEvent { at: SystemAmbient.now(), who, action, object, details }
}

fn told(act: Act) -> (AuditAction, Value) {
    match act {
        Act::Add { content, path } => (AuditAction::Write, json!({ "added": content, "path": path })),
        Act::Commit { message, files, bytes } => {
            (AuditAction::Write, json!({ "message": message, "files": files, "bytes": bytes }))
        }
        Act::Merge => (AuditAction::Write, json!({ "merge": true })),
        Act::Tag { tag } => (AuditAction::Tag, json!({ "tag": tag })),
        Act::Untag { tag } => (AuditAction::Delete, json!({ "tag": tag })),
        Act::Remove { why } => (AuditAction::Delete, json!({ "why": why })),
        Act::GiveUp { what, place } => (AuditAction::Delete, json!({ "given_up": what, "store": place })),
        Act::Untrack { files_removed } => (AuditAction::Delete, json!({ "files_removed": files_removed })),
        Act::Push { remote } => (AuditAction::Read, json!({ "pushed_to": remote })),
        Act::Pull { remote } => (AuditAction::Read, json!({ "pulled_from": remote })),
        Act::Adopt { act, by, place } => {
            let (action, mut details) = told(*act);
            details["fetched_from"] = place.into();
            if let Some(by) = by {
                details["by"] = by.into();
            }
            (action, details)
        }
    }
}
