//! Telling others what happens in the registry, as MLflow does (`mlflow/webhooks/`): what is to be told is written in
//! the transaction of the event, so nothing that was answered is lost, and sent afterwards by a task of the product.

mod address;
mod delivery;
mod event;
mod signature;

use ropewalk_catalog::{CatalogError, Connection, FromRow, Row, query};
use ropewalk_tracking::filter::token;
use ropewalk_types::{Ambient, Diagnose, Timestamp};
use serde_json::Value;

pub use address::{is_loopback, is_public};
pub use delivery::{Message, Sent, WebhookSender};
pub(crate) use delivery::{claim, finish, message, retry};
pub use event::{Event, UnknownEvent};

use crate::{Page, RegistryError};

/// Most webhooks in one page.
pub const WEBHOOK_PAGE: usize = 1_000;

/// Why there is no such webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// No webhook has this id.
    #[error("Webhook with ID {0} not found.")]
    Absent(String),
    /// The name breaks its rule.
    #[error(
        "webhook name '{0}' is invalid: use 1 to 63 letters, digits, '.', '_' and '-', with a letter or digit at both ends"
    )]
    Name(String),
    /// What is called must be a public host over https, or this machine.
    #[error("webhook URL '{url}' is refused: {reason}")]
    Url {
        /// As it was given.
        url: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// It would never be called.
    #[error("a webhook needs at least one event")]
    NoEvents,
    /// It cannot happen.
    #[error(transparent)]
    Event(#[from] UnknownEvent),
}

impl Diagnose for WebhookError {
    fn code(&self) -> &'static str {
        match self {
            Self::Absent(_) => "registry.webhook_absent",
            Self::Name(_) => "registry.webhook_name",
            Self::Url { .. } => "registry.webhook_url",
            Self::NoEvents | Self::Event(_) => "registry.webhook_event",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Url { .. } => Some("use https:// and a public host, or a loopback address".to_owned()),
            _ => None,
        }
    }
}

/// Who is called when something happens. The secret is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// A UUID.
    pub id: String,
    /// For people.
    pub name: String,
    /// What is called.
    pub url: String,
    /// For people.
    pub description: Option<String>,
    /// When, in the order in which they were given.
    pub events: Vec<Event>,
    /// Whether it is called at all.
    pub active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

/// A webhook to make, or what is to change about one: what is none stays.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebhookChange {
    /// Its name.
    pub name: Option<String>,
    /// What is called.
    pub url: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The key by which calls are signed; empty for none.
    pub secret: Option<String>,
    /// When it is called.
    pub events: Option<Vec<Event>>,
    /// Whether it is called at all.
    pub active: Option<bool>,
}

impl std::fmt::Debug for WebhookChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret stays one.
        f.debug_struct("WebhookChange").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

impl WebhookChange {
    fn check(&self) -> Result<(), WebhookError> {
        if let Some(name) = &self.name {
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let bytes = name.as_bytes();
            if bytes.len() > 63 || !end(bytes.first()) || !end(bytes.last()) || !bytes.iter().copied().all(inner) {
                return Err(WebhookError::Name(name.chars().take(80).collect()));
            }
        }
        if let Some(url) = &self.url {
            address::url_check(url).map_err(|reason| WebhookError::Url { url: url.clone(), reason })?;
        }
        match &self.events {
            Some(events) if events.is_empty() => Err(WebhookError::NoEvents),
            _ => Ok(()),
        }
    }
}

struct WebhookRow {
    texts: [String; 3],
    description: Option<String>,
    numbers: [i64; 3],
}

impl FromRow for WebhookRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        Ok(Self {
            texts: [row.get(0)?, row.get(1)?, row.get(2)?],
            description: row.get(3)?,
            numbers: [row.get(4)?, row.get(5)?, row.get(6)?],
        })
    }
}

const SELECT: &str = "SELECT id, name, url, description, active, created_at, updated_at FROM webhook";

async fn webhook_from(connection: &mut Connection, row: WebhookRow) -> Result<Webhook, RegistryError> {
    let [id, name, url] = row.texts;
    let [active, created_at, updated_at] = row.numbers;
    let sql = "SELECT event FROM webhook_event WHERE webhook = $1 ORDER BY position";
    let events: Vec<String> = query(sql).bind(id.as_str()).fetch_all(connection).await?;
    let events: Result<Vec<Event>, UnknownEvent> = events.iter().map(|event| event.parse()).collect();
    Ok(Webhook {
        id,
        name,
        url,
        description: row.description,
        events: events.map_err(WebhookError::from)?,
        active: active == 1,
        created_at: Timestamp(created_at),
        updated_at: Timestamp(updated_at),
    })
}

/// A new random UUID.
pub(crate) fn uuid(ambient: &dyn Ambient) -> String {
    uuid::Builder::from_random_bytes(ambient.random().to_be_bytes()).into_uuid().to_string()
}

/// Makes a webhook. Errors: [`RegistryError::Webhook`].
pub(crate) async fn webhook_create(
    connection: &mut Connection,
    id: &str,
    new: &WebhookChange,
    at: Timestamp,
) -> Result<Webhook, RegistryError> {
    new.check()?;
    let events = new.events.as_deref().filter(|events| !events.is_empty()).ok_or(WebhookError::NoEvents)?;
    query(
        "INSERT INTO webhook (id, name, url, description, secret, active, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(id)
    .bind(new.name.as_deref().unwrap_or_default())
    .bind(new.url.as_deref().unwrap_or_default())
    .bind(new.description.as_deref())
    .bind(new.secret.as_deref().filter(|secret| !secret.is_empty()))
    .bind(i64::from(new.active.unwrap_or(true)))
    .bind(at.millis())
    .execute(&mut *connection)
    .await?;
    events_write(connection, id, events).await?;
    webhook_get(connection, id).await
}

async fn events_write(connection: &mut Connection, id: &str, events: &[Event]) -> Result<(), RegistryError> {
    query("DELETE FROM webhook_event WHERE webhook = $1").bind(id).execute(&mut *connection).await?;
    for (position, event) in (0_i64..).zip(events) {
        let sql = "INSERT INTO webhook_event (webhook, event, position) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        query(sql).bind(id).bind(event.to_string()).bind(position).execute(&mut *connection).await?;
    }
    Ok(())
}

/// One webhook. Errors: [`WebhookError::Absent`].
pub(crate) async fn webhook_get(connection: &mut Connection, id: &str) -> Result<Webhook, RegistryError> {
    let sql = format!("{SELECT} WHERE id = $1");
    let row: Option<WebhookRow> = query(sql).bind(id).fetch_optional(&mut *connection).await?;
    let row = row.ok_or_else(|| WebhookError::Absent(id.to_owned()))?;
    webhook_from(connection, row).await
}

/// The key by which calls of a webhook are signed.
pub(crate) async fn secret(connection: &mut Connection, id: &str) -> Result<Option<String>, RegistryError> {
    let sql = "SELECT secret FROM webhook WHERE id = $1";
    let secret: Option<Option<String>> = query(sql).bind(id).fetch_optional(connection).await?;
    Ok(secret.flatten())
}

/// A page of webhooks, newest first.
pub(crate) async fn webhook_list(
    connection: &mut Connection,
    limit: usize,
    page_token: Option<&str>,
) -> Result<Page<Webhook>, RegistryError> {
    let hash = token::query_hash(&["webhooks"]);
    let offset = match page_token.filter(|token| !token.is_empty()) {
        Some(text) => token::decode_offset(text, hash).map_err(ropewalk_tracking::TrackingError::from)?,
        None => 0,
    };
    let sql = format!("{SELECT} ORDER BY created_at DESC, id LIMIT $1 OFFSET $2");
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (more, from) = (number(limit as u64 + 1), number(offset));
    let mut rows: Vec<WebhookRow> = query(sql).bind(more).bind(from).fetch_all(&mut *connection).await?;
    let next = (rows.len() > limit).then(|| token::encode_offset(hash, offset + limit as u64));
    rows.truncate(limit);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(webhook_from(connection, row).await?);
    }
    Ok(Page { items, next })
}

/// Changes a webhook. Errors: [`RegistryError::Webhook`].
pub(crate) async fn webhook_update(
    connection: &mut Connection,
    id: &str,
    change: &WebhookChange,
    at: Timestamp,
) -> Result<Webhook, RegistryError> {
    change.check()?;
    webhook_get(connection, id).await?;
    query(
        "UPDATE webhook SET name = COALESCE($2, name), url = COALESCE($3, url),
                description = COALESCE($4, description), active = COALESCE($5, active), updated_at = $6
         WHERE id = $1",
    )
    .bind(id)
    .bind(change.name.as_deref())
    .bind(change.url.as_deref())
    .bind(change.description.as_deref())
    .bind(change.active.map(i64::from))
    .bind(at.millis())
    .execute(&mut *connection)
    .await?;
    if let Some(secret) = change.secret.as_deref() {
        let secret = Some(secret).filter(|secret| !secret.is_empty());
        query("UPDATE webhook SET secret = $2 WHERE id = $1").bind(id).bind(secret).execute(&mut *connection).await?;
    }
    if let Some(events) = &change.events {
        events_write(connection, id, events).await?;
    }
    webhook_get(connection, id).await
}

/// Deletes a webhook and what waits to be sent to it. Errors: [`WebhookError::Absent`].
pub(crate) async fn webhook_delete(connection: &mut Connection, id: &str) -> Result<(), RegistryError> {
    webhook_get(connection, id).await?;
    for sql in [
        "DELETE FROM webhook_delivery WHERE webhook = $1",
        "DELETE FROM webhook_event WHERE webhook = $1",
        "DELETE FROM webhook WHERE id = $1",
    ] {
        query(sql).bind(id).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Leaves for each active webhook of the event what it is to be told, in the transaction of the event.
pub(crate) async fn notify(
    connection: &mut Connection,
    ambient: &dyn Ambient,
    event: Event,
    data: Value,
) -> Result<(), RegistryError> {
    let sql = "SELECT w.id FROM webhook w JOIN webhook_event e ON e.webhook = w.id
               WHERE e.event = $1 AND w.active = 1 ORDER BY w.id";
    let called: Vec<String> = query(sql).bind(event.to_string()).fetch_all(&mut *connection).await?;
    if called.is_empty() {
        return Ok(());
    }
    let at = ambient.now();
    let body = event.body(&data, at);
    for webhook in called {
        let sql = "INSERT INTO webhook_delivery (id, webhook, body, attempts, due_at) VALUES ($1, $2, $3, 0, $4)";
        let delivery = query(sql).bind(uuid(ambient)).bind(webhook).bind(body.as_str()).bind(at.millis());
        delivery.execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
