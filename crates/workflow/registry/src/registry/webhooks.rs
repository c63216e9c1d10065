use std::time::Duration;

use futures::future::join_all;

use super::{Registry, reading, writing};
use crate::webhook::{self, claim, finish, message, retry, uuid};
use crate::{Event, Page, RegistryError, Sent, Webhook, WebhookChange, WebhookSender};

/// How long nobody looks for what is due while nothing is told here: another server may have died with it.
const IDLE: Duration = Duration::from_secs(5);

impl Registry {
    /// Makes a webhook; name, URL and events must be given. Errors: [`RegistryError::Webhook`].
    pub async fn webhook_create(&self, new: WebhookChange) -> Result<Webhook, RegistryError> {
        let (id, at) = (uuid(&*self.ambient), self.now());
        writing!(self, |connection| webhook::webhook_create(connection, &id, &new, at))
    }

    /// One webhook. Errors: [`crate::WebhookError::Absent`].
    pub async fn webhook_get(&self, id: &str) -> Result<Webhook, RegistryError> {
        let id = id.to_owned();
        reading!(self, |connection| webhook::webhook_get(connection, &id))
    }

    /// A page of at most `limit` webhooks, newest first.
    pub async fn webhook_list(&self, limit: usize, page_token: Option<&str>) -> Result<Page<Webhook>, RegistryError> {
        let page_token = page_token.map(ToOwned::to_owned);
        reading!(self, |connection| webhook::webhook_list(connection, limit, page_token.as_deref()))
    }

    /// Changes what is given. Errors: [`RegistryError::Webhook`].
    pub async fn webhook_update(&self, id: &str, change: WebhookChange) -> Result<Webhook, RegistryError> {
        let (id, at) = (id.to_owned(), self.now());
        writing!(self, |connection| webhook::webhook_update(connection, &id, &change, at))
    }

    /// Deletes a webhook and what waits to be sent to it. Errors: [`crate::WebhookError::Absent`].
    pub async fn webhook_delete(&self, id: &str) -> Result<(), RegistryError> {
        let id = id.to_owned();
        writing!(self, |connection| webhook::webhook_delete(connection, &id))
    }

    /// Sends an example of `event`, or of the first one of the webhook, now and once; what was answered, or why
    /// nothing was. Errors: [`crate::WebhookError::Absent`].
    pub async fn webhook_test(
        &self,
        id: &str,
        event: Option<Event>,
        sender: &dyn WebhookSender,
    ) -> Result<Result<Sent, String>, RegistryError> {
        let webhook = self.webhook_get(id).await?;
        let wanted = id.to_owned();
        let secret = reading!(self, |connection| webhook::secret(connection, &wanted))?;
        let Some(event) = event.or_else(|| webhook.events.first().copied()) else {
            return Ok(Err("it has no event".to_owned()));
        };
        let at = self.now();
        let delivery = uuid(&*self.ambient);
        let body = event.body(&event.example(), at);
        Ok(sender.send(&message(&delivery, &webhook.url, secret.as_deref(), body, at)).await)
    }

    /// Sends what is due to webhooks, once; how many were tried.
    ///
    /// A delivery that fails is tried again later, four times in all. What another server took is left to it.
    pub async fn webhooks_deliver(&self, sender: &dyn WebhookSender) -> Result<usize, RegistryError> {
        let now = self.now();
        let due = writing!(self, |connection| claim(connection, now))?;
        let tried = due.len();
        let mut sending = Vec::with_capacity(tried);
        for (id, url, secret, body, tries) in due {
            sending.push(async move {
                let sent = sender.send(&message(&id, &url, secret.as_deref(), body, now)).await;
                (id, retry(&sent, tries, now))
            });
        }
        for (id, again) in join_all(sending).await {
            let ended: Result<(), RegistryError> = writing!(self, |connection| finish(connection, &id, again));
            ended?;
        }
        Ok(tried)
    }

    /// Sends to webhooks for ever; the product runs it as a task and ends it by dropping it. Errors of the catalogue
    /// go to `failed`.
    pub async fn webhooks_serve(&self, sender: &dyn WebhookSender, failed: &(dyn Fn(&RegistryError) + Send + Sync)) {
        loop {
            match self.webhooks_deliver(sender).await {
                // There may be more.
                Ok(tried) if tried > 0 => {}
                result => {
                    if let Err(error) = result {
                        failed(&error);
                    }
                    // A notice that came since is kept, so that nothing waits here for long.
                    let _ = tokio::time::timeout(IDLE, self.told.notified()).await;
                }
            }
        }
    }
}
