use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use ropewalk_serving::ModelHost;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::{Request, Response, Status};

use super::carried;
use health_check_response::ServingStatus;
use health_proto::health_check_response;
use health_proto::health_server::Health;

pub use health_proto::health_server::HealthServer;

mod health_proto {
    #![expect(clippy::pedantic, unreachable_pub, reason = "written by tonic-prost-build")]
    tonic::include_proto!("grpc.health.v1");
}

/// The services that a probe can ask for, beside the empty name of the whole server.
const SERVICE: &str = "inference.GRPCInferenceService";
/// How soon a watcher is told of a change.
const WATCH: Duration = Duration::from_millis(250);

/// `grpc.health.v1.Health` on a host: serving when the host is ready and the server does not end.
#[derive(Clone, Debug)]
pub struct HealthService {
    host: Arc<ModelHost>,
    /// Becomes true when the server begins to end.
    ending: Arc<watch::Sender<bool>>,
}

/// The health service for a tonic server.
pub(crate) fn health_service(host: Arc<ModelHost>, ending: Arc<watch::Sender<bool>>) -> HealthServer<HealthService> {
    HealthServer::new(HealthService { host, ending })
}

fn is_here(service: &str) -> bool {
    service.is_empty() || service == SERVICE
}

impl HealthService {
    fn status(&self, service: &str) -> ServingStatus {
        match (is_here(service), !*self.ending.borrow() && self.host.readiness().is_ready()) {
            (false, _) => ServingStatus::ServiceUnknown,
            (true, true) => ServingStatus::Serving,
            (true, false) => ServingStatus::NotServing,
        }
    }
}

/// What one watcher was told last.
struct Watcher {
    health: HealthService,
    service: String,
    last: Option<ServingStatus>,
    ticks: Interval,
    ending: watch::Receiver<bool>,
}

impl Watcher {
    async fn next(mut self) -> Option<(Result<health_proto::HealthCheckResponse, Status>, Self)> {
        loop {
            tokio::select! {
                _ = self.ticks.tick() => {}
                // The health service holds the other end, so that it is not gone before.
                _ = self.ending.changed() => {}
            }
            let status = self.health.status(&self.service);
            if self.last != Some(status) {
                self.last = Some(status);
                return Some((Ok(health_proto::HealthCheckResponse { status: status.into() }), self));
            }
        }
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<health_proto::HealthCheckResponse, Status>> + Send + 'static>>;

    async fn check(
        &self,
        request: Request<health_proto::HealthCheckRequest>,
    ) -> Result<Response<health_proto::HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !is_here(&service) {
            let problem = format!("no service `{service}` here; there is `{SERVICE}`");
            return Err(Status::not_found(carried(problem)));
        }
        Ok(Response::new(health_proto::HealthCheckResponse { status: self.status(&service).into() }))
    }

    async fn watch(
        &self,
        request: Request<health_proto::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut ticks = interval(WATCH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (health, service, ending) = (self.clone(), request.into_inner().service, self.ending.subscribe());
        let watcher = Watcher { health, service, last: None, ticks, ending };
        Ok(Response::new(Box::pin(futures::stream::unfold(watcher, Watcher::next))))
    }
}
