use std::sync::Arc;

use axum::Router;
use ropewalk_serving::ModelHost;
use tokio::sync::{Semaphore, watch};
use tonic::service::Routes;

use crate::grpc::{self, GrpcService, HealthService};
use crate::grpc::{GrpcServer, HealthServer};
use crate::room::Rooms;
use crate::{AsAsked, ProtocolError, ProtocolLimits, Repository, rest};

/// The protocol on a host.
#[derive(Clone, Debug)]
pub struct OpenInference {
    pub(crate) host: Arc<ModelHost>,
    pub(crate) limits: ProtocolLimits,
    pub(crate) repository: Option<Arc<dyn Repository>>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) rooms: Rooms,
    ending: Arc<watch::Sender<bool>>,
}

impl OpenInference {
    /// A server whose models no client loads or unloads.
    pub fn new(host: Arc<ModelHost>, limits: ProtocolLimits) -> Self {
        let places = Arc::new(Semaphore::new(limits.requests.clamp(1, Semaphore::MAX_PERMITS)));
        let rooms = Rooms::new(&limits);
        Self { host, limits, repository: None, places, rooms, ending: Arc::new(watch::Sender::new(false)) }
    }

    /// Lets clients load and unload what this repository has.
    #[must_use]
    pub fn with_repository(self, repository: Arc<dyn Repository>) -> Self {
        Self { repository: Some(repository), ..self }
    }

    /// What compressed bodies and messages take in memory, for who decompresses them before the protocol does.
    pub fn rooms(&self) -> Rooms {
        self.rooms.clone()
    }

    /// REST: every path below `/v2`, and the protocol's errors for all others.
    pub fn router(&self) -> Router {
        rest::router(Arc::new(self.clone()))
    }

    /// `inference.GRPCInferenceService`; messages are bounded in both directions.
    pub fn grpc_service(&self) -> AsAsked<GrpcServer<GrpcService>> {
        grpc::service(Arc::new(self.clone()))
    }

    /// `grpc.health.v1.Health`: serving when the host is ready, until [`end`](Self::end).
    pub fn health_service(&self) -> HealthServer<HealthService> {
        grpc::health_service(Arc::clone(&self.host), Arc::clone(&self.ending))
    }

    /// Tells who watches the health at once, and who asks for it from now on, that the server does not serve any more.
    /// Requests are answered as before.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }

    /// All of gRPC: inference, health, and reflection in both of its versions.
    ///
    /// # Errors
    /// The descriptors that are built in cannot be read, which is a defect.
    pub fn grpc_routes(&self) -> Result<Routes, ProtocolError> {
        let mut routes = Routes::new(self.grpc_service()).add_service(self.health_service());
        routes = grpc::add_reflection(routes)?;
        Ok(routes.prepare())
    }

    /// The path of each method of [`grpc_routes`](Self::grpc_routes), as the descriptors have it: `/PACKAGE.SERVICE/METHOD`.
    ///
    /// # Errors
    /// The descriptors that are built in cannot be read, which is a defect.
    pub fn grpc_paths() -> Result<Vec<String>, ProtocolError> {
        grpc::paths()
    }
}

/// [`OpenInference::router`] of a host alone.
pub fn router(host: Arc<ModelHost>, limits: ProtocolLimits) -> Router {
    OpenInference::new(host, limits).router()
}

/// [`OpenInference::grpc_service`] of a host alone.
pub fn grpc_service(host: Arc<ModelHost>, limits: ProtocolLimits) -> AsAsked<GrpcServer<GrpcService>> {
    OpenInference::new(host, limits).grpc_service()
}

/// [`OpenInference::health_service`] of a host.
pub fn health_service(host: Arc<ModelHost>) -> HealthServer<HealthService> {
    OpenInference::new(host, ProtocolLimits::default()).health_service()
}
