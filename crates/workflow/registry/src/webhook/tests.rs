use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::testing::{execute, name, registry, sourced};
use crate::{ErrorKind, Registry};

/// Answers with a status, or with nothing for 0; keeps what it was given.
#[derive(Debug)]
struct Recorder {
    status: u16,
    sent: Mutex<Vec<Message>>,
}

impl Recorder {
    fn answering(status: u16) -> Self {
        Self { status, sent: Mutex::new(Vec::new()) }
    }

    fn taken(&self) -> Vec<Message> {
        std::mem::take(&mut *self.sent.lock().expect("messages"))
    }
}

#[async_trait]
impl WebhookSender for Recorder {
    async fn send(&self, message: &Message) -> Result<Sent, String> {
        self.sent.lock().expect("messages").push(message.clone());
        match self.status {
            0 => Err("nobody there".to_owned()),
            status => Ok(Sent { status, body: "ok".to_owned() }),
        }
    }
}

fn hook(events: &[&str]) -> WebhookChange {
    WebhookChange {
        name: Some("hook".to_owned()),
        url: Some("https://example.com/x".to_owned()),
        secret: Some("secret".to_owned()),
        events: Some(events.iter().map(|event| event.parse().expect(event)).collect()),
        ..WebhookChange::default()
    }
}

async fn version(registry: &Registry) {
    registry.version_create(sourced("m", "s3://b/x")).await.expect("version");
}

#[tokio::test]
async fn what_happens_is_told_signed_and_once() {
    let (_, registry) = registry().await;
    registry.model_create(&name("m"), None, Vec::new()).await.expect("model");
    registry.webhook_create(hook(&["model_version.created", "model_version_alias.created"])).await.expect("hook");
    version(&registry).await;
    registry.version_tag_set(&name("m"), 1, "not", "asked for").await.expect("tag");
    let recorder = Recorder::answering(200);
    assert_eq!(registry.webhooks_deliver(&recorder).await.expect("sent"), 1);
    assert_eq!(registry.webhooks_deliver(&recorder).await.expect("sent"), 0);
    let sent = recorder.taken();
    let body: Value = serde_json::from_str(&sent[0].body).expect("JSON");
    assert_eq!((&body["entity"], &body["action"]), (&Value::from("model_version"), &Value::from("created")));
    assert_eq!((&body["data"]["name"], &body["data"]["version"]), (&Value::from("m"), &Value::from("1")));
    let names: Vec<&str> = sent[0].headers.iter().map(|header| header.0).collect();
    assert_eq!(names, ["Content-Type", "X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature"]);
    assert!(sent[0].headers[3].1.starts_with("v1,"));
}

#[tokio::test]
async fn a_failure_is_tried_four_times_and_a_refusal_once() {
    for (status, tries) in [(0, 4), (503, 4), (400, 1), (200, 1)] {
        let (catalog, registry) = registry().await;
        registry.model_create(&name("m"), None, Vec::new()).await.expect("model");
        registry.webhook_create(hook(&["model_version.created"])).await.expect("hook");
        version(&registry).await;
        let recorder = Recorder::answering(status);
        for _ in 0..6 {
            registry.webhooks_deliver(&recorder).await.expect("tried");
            execute(&catalog, "UPDATE webhook_delivery SET due_at = 0").await;
        }
        assert_eq!(recorder.taken().len(), tries, "{status}");
    }
}

#[tokio::test]
async fn webhooks_are_changed_listed_and_deleted() {
    let (_, registry) = registry().await;
    let made = registry.webhook_create(hook(&["prompt.created", "model_version.created"])).await.expect("made");
    assert_eq!(
        made.events.iter().map(Event::to_string).collect::<Vec<_>>(),
        ["prompt.created", "model_version.created"]
    );
    let second = registry.webhook_create(hook(&["prompt.created"])).await.expect("second");
    let page = registry.webhook_list(1, None).await.expect("page");
    assert_eq!(page.items[0].id, second.id);
    let rest = registry.webhook_list(1, page.next.as_deref()).await.expect("rest");
    assert_eq!((rest.items[0].id.as_str(), rest.next), (made.id.as_str(), None));
    let change = WebhookChange { active: Some(false), ..WebhookChange::default() };
    let changed = registry.webhook_update(&made.id, change).await.expect("changed");
    assert_eq!((changed.active, changed.url, changed.events), (false, made.url, made.events));
    registry.model_create(&name("m"), None, Vec::new()).await.expect("model");
    version(&registry).await;
    assert_eq!(registry.webhooks_deliver(&Recorder::answering(200)).await.expect("sent"), 0, "it is switched off");
    registry.webhook_delete(&made.id).await.expect("deleted");
    assert_eq!(registry.webhook_get(&made.id).await.expect_err("gone").kind(), ErrorKind::Absent);
    let tested = registry.webhook_test(&second.id, None, &Recorder::answering(418)).await.expect("tested");
    assert_eq!(tested.expect("answer").status, 418);
    for (name, url, events) in [
        ("-x", "https://example.com", vec!["prompt.created"]),
        ("x", "http://example.com", vec!["prompt.created"]),
        ("x", "https://10.0.0.1", vec!["prompt.created"]),
        ("x", "https://example.com", vec![]),
    ] {
        let bad = WebhookChange { name: Some(name.to_owned()), url: Some(url.to_owned()), ..hook(&events) };
        assert_eq!(registry.webhook_create(bad).await.expect_err(url).kind(), ErrorKind::Invalid, "{name} {url}");
    }
}
