use std::fmt::Debug;

use async_trait::async_trait;
use ropewalk_catalog::{Connection, query};
use ropewalk_types::Timestamp;

use super::signature::sign;
use crate::RegistryError;

/// Deliveries that are sent at the same time at most.
const AT_ONCE: i64 = 16;
/// How long a delivery belongs to whoever took it: longer than a sender may try.
const LEASE_MS: i64 = 120_000;
/// How often a delivery is tried: MLflow's first try and three more.
const TRIES: i64 = 4;

/// What is to be posted.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to. It must be called only if all its addresses are public, or it is this machine; no redirect followed.
    pub url: String,
    /// Names and values, the type of the body too.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

impl Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The signature stays between the two.
        f.debug_struct("Message").field("url", &self.url).field("body", &self.body).finish_non_exhaustive()
    }
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The answer's status.
    pub status: u16,
    /// The beginning of its body.
    pub body: String,
}

/// Who opens the socket: the product.
#[async_trait]
pub trait WebhookSender: Send + Sync + Debug {
    /// Posts a message. The error is a sentence: why there was no answer.
    async fn send(&self, message: &Message) -> Result<Sent, String>;
}

/// A delivery that was taken: id, webhook's URL and secret, body, tries with this one.
pub(crate) type Claimed = (String, String, Option<String>, String, i64);

/// Takes what is due, so that no other server sends it at the same time.
pub(crate) async fn claim(connection: &mut Connection, now: Timestamp) -> Result<Vec<Claimed>, RegistryError> {
    let sql = "SELECT d.id, w.url, w.secret, d.body, d.attempts + 1 FROM webhook_delivery d
               JOIN webhook w ON w.id = d.webhook WHERE d.due_at <= $1 ORDER BY d.due_at, d.id LIMIT $2";
    let due: Vec<Claimed> = query(sql).bind(now.millis()).bind(AT_ONCE).fetch_all(&mut *connection).await?;
    for (id, ..) in &due {
        let taken = "UPDATE webhook_delivery SET attempts = attempts + 1, due_at = $2 WHERE id = $1";
        query(taken).bind(id).bind(now.millis() + LEASE_MS).execute(&mut *connection).await?;
    }
    Ok(due)
}

/// The message of a delivery, signed where the webhook has a secret.
pub(crate) fn message(id: &str, url: &str, secret: Option<&str>, body: String, now: Timestamp) -> Message {
    let timestamp = now.millis() / 1000;
    let mut headers = vec![
        ("Content-Type", "application/json".to_owned()),
        ("X-MLflow-Delivery-Id", id.to_owned()),
        ("X-MLflow-Timestamp", timestamp.to_string()),
    ];
    if let Some(secret) = secret {
        headers.push(("X-MLflow-Signature", sign(secret, id, timestamp, &body)));
    }
    Message { url: url.to_owned(), headers, body }
}

/// When a delivery is to be tried again after its `tries`-th failure; none where it is given up, or was taken.
pub(crate) fn retry(outcome: &Result<Sent, String>, tries: i64, now: Timestamp) -> Option<i64> {
    let again = match outcome {
        Ok(sent) => matches!(sent.status, 429 | 500 | 502 | 503 | 504),
        Err(_) => true,
    };
    (again && tries < TRIES).then(|| now.millis() + (1_000 << tries.clamp(0, 6)))
}

/// Ends a delivery, or puts it off.
pub(crate) async fn finish(connection: &mut Connection, id: &str, again: Option<i64>) -> Result<(), RegistryError> {
    match again {
        Some(due) => {
            let sql = "UPDATE webhook_delivery SET due_at = $2 WHERE id = $1";
            query(sql).bind(id).bind(due).execute(connection).await?
        }
        None => query("DELETE FROM webhook_delivery WHERE id = $1").bind(id).execute(connection).await?,
    };
    Ok(())
}
