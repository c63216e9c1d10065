use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_registry::{Registry, WebhookSender};
use ropewalk_tracking::{Tracking, TrackingError};
use ropewalk_types::RunId;

/// Largest artifact that is taken unless said otherwise: 64 GiB.
const ARTIFACT_BYTES: u64 = 64 << 30;

/// What is done besides when a client begins a run.
pub trait RunBegun: Send + Sync + fmt::Debug {
    /// Hears of a new run before its client does; an error is what the client is answered.
    fn begun(&self, run: RunId) -> BoxFuture<'_, Result<(), TrackingError>>;
}

/// What the endpoints need.
#[derive(Clone, Debug)]
pub struct MlflowState {
    /// Where everything is kept.
    pub tracking: Tracking,
    /// The registered models.
    pub registry: Registry,
    /// Who sends the test of a webhook; without one a test says that none is sent here.
    pub webhooks: Option<Arc<dyn WebhookSender>>,
    /// Host names, without port, under which this server may be addressed besides the loopback ones.
    pub allowed_hosts: Vec<String>,
    /// With it a request must carry it as `Authorization: Bearer`, or as the password of any user; without it and without
    /// [`users`](Self::users) every request is taken.
    pub token: Option<Secret>,
    /// Those who may come in as `Authorization: Basic`, with their passwords.
    pub users: BTreeMap<String, Secret>,
    /// Who will end the runs that are begun here; see [`ropewalk_tracking::NewRun::owner`].
    pub owner: Option<String>,
    /// Who hears of the runs that are begun here.
    pub begun: Option<Arc<dyn RunBegun>>,
    /// Largest artifact that is taken, in bytes.
    pub artifact_bytes: u64,
}

impl MlflowState {
    /// For loopback, without a token.
    pub fn new(tracking: Tracking, registry: Registry) -> Self {
        Self {
            tracking,
            registry,
            webhooks: None,
            allowed_hosts: Vec::new(),
            token: None,
            users: BTreeMap::new(),
            owner: None,
            begun: None,
            artifact_bytes: ARTIFACT_BYTES,
        }
    }
}

/// Who sent a request, as they authenticated: an extension of the request, put there by whoever checked that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal(pub String);

/// A token or a password, kept as its digest: it is neither shown nor compared in a time that depends on it.
#[derive(Clone)]
pub struct Secret(blake3::Hash);

impl Secret {
    /// The secret that `token` is.
    pub fn new(token: &str) -> Self {
        Self(blake3::hash(token.as_bytes()))
    }

    /// Whether `presented` is the token. `blake3::Hash` compares in constant time.
    pub(crate) fn is(&self, presented: &[u8]) -> bool {
        self.0 == blake3::hash(presented)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
