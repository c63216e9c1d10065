//! `webhooks…` of `mlflow/protos/webhooks.proto`.

use axum::Json;
use axum::extract::State;
use ropewalk_registry::{Event, RegistryError, WEBHOOK_PAGE, WebhookChange, WebhookError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::MlflowError;
use crate::registered_models::{Answer, States};
use crate::request::{Message, Parameters, PathText, required};
use crate::wire::number::Int64;
use crate::wire::page_size;
use crate::wire::registry::{page, webhook_out};

/// Webhooks of a page unless said otherwise.
const PAGE: usize = 100;

/// `WebhookEvent`.
#[derive(Debug, Deserialize)]
pub(crate) struct EventIn {
    entity: Option<String>,
    action: Option<String>,
}

impl EventIn {
    fn event(self) -> Result<Event, MlflowError> {
        let (entity, action) = (required("entity", self.entity)?, required("action", self.action)?);
        let event = Event::of(&entity, &action);
        event.map_err(|error| RegistryError::from(WebhookError::from(error)).into())
    }
}

fn events_in(events: Vec<EventIn>) -> Result<Vec<Event>, MlflowError> {
    events.into_iter().map(EventIn::event).collect()
}

/// `CreateWebhook`, `UpdateWebhook`.
#[derive(Debug, Deserialize)]
pub(crate) struct Change {
    name: Option<String>,
    url: Option<String>,
    description: Option<String>,
    secret: Option<String>,
    events: Option<Vec<EventIn>>,
    status: Option<String>,
}

impl Change {
    fn change(self) -> Result<WebhookChange, MlflowError> {
        let active = match self.status.as_deref().filter(|status| !status.is_empty()) {
            None => None,
            Some("ACTIVE") => Some(true),
            Some("DISABLED") => Some(false),
            Some(_) => return Err(MlflowError::invalid("status", &"use ACTIVE or DISABLED")),
        };
        let events = self.events.filter(|events| !events.is_empty()).map(events_in).transpose()?;
        Ok(WebhookChange {
            name: self.name.filter(|name| !name.is_empty()),
            url: self.url.filter(|url| !url.is_empty()),
            description: self.description,
            secret: self.secret,
            events,
            active,
        })
    }
}

pub(crate) async fn create(State(state): States, Message(message): Message<Change>) -> Answer {
    let mut new = message.change()?;
    new.name = Some(required("name", new.name)?);
    new.url = Some(required("url", new.url)?);
    if new.events.is_none() {
        return Err(MlflowError::Missing("events"));
    }
    let webhook = state.registry.webhook_create(new).await?;
    Ok(Json(json!({ "webhook": webhook_out(&webhook) })))
}

pub(crate) async fn get(State(state): States, PathText(id): PathText) -> Answer {
    let webhook = state.registry.webhook_get(&id).await?;
    Ok(Json(json!({ "webhook": webhook_out(&webhook) })))
}

/// `ListWebhooks`.
#[derive(Debug, Deserialize)]
pub(crate) struct List {
    max_results: Option<Int64>,
    page_token: Option<String>,
}

pub(crate) async fn list(State(state): States, Parameters(message): Parameters<List>) -> Answer {
    let wanted = message.max_results.filter(|wanted| wanted.0 != 0);
    let limit = page_size(wanted, PAGE, WEBHOOK_PAGE)?;
    let found = state.registry.webhook_list(limit, message.page_token.as_deref()).await?;
    let webhooks: Vec<Value> = found.items.iter().map(webhook_out).collect();
    Ok(Json(page("webhooks", &webhooks, found.next.as_deref())))
}

pub(crate) async fn update(State(state): States, PathText(id): PathText, Message(message): Message<Change>) -> Answer {
    let webhook = state.registry.webhook_update(&id, message.change()?).await?;
    Ok(Json(json!({ "webhook": webhook_out(&webhook) })))
}

pub(crate) async fn delete(State(state): States, PathText(id): PathText) -> Answer {
    state.registry.webhook_delete(&id).await?;
    Ok(Json(json!({})))
}

/// `TestWebhook`.
#[derive(Debug, Deserialize)]
pub(crate) struct Test {
    event: Option<EventIn>,
}

pub(crate) async fn test(State(state): States, PathText(id): PathText, Message(message): Message<Test>) -> Answer {
    let event = message.event.map(EventIn::event).transpose()?;
    let sent = match &state.webhooks {
        Some(sender) => state.registry.webhook_test(&id, event, &**sender).await?,
        None => Err("this server sends no webhooks".to_owned()),
    };
    let result = match sent {
        Ok(sent) => json!({
            "success": sent.status < 400,
            "response_status": sent.status,
            "response_body": sent.body,
        }),
        Err(reason) => json!({ "success": false, "error_message": format!("Failed to test webhook: {reason}") }),
    };
    Ok(Json(json!({ "result": result })))
}

#[cfg(test)]
mod tests;
