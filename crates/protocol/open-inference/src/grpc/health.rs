use std::sync::Arc;

use ropewalk_serving::ModelHost;
use tonic::{Request, Response, Status};

use health_check_response::ServingStatus;
use health_proto::health_check_response;
use health_proto::health_server::{Health, HealthServer};

mod health_proto {
    #![expect(clippy::pedantic, unreachable_pub, reason = "written by tonic-prost-build")]
    tonic::include_proto!("grpc.health.v1");
}

/// The services that a probe can ask for, beside the empty name of the whole server.
const SERVICE: &str = "inference.GRPCInferenceService";

/// `grpc.health.v1.Health/Check` on a host: serving when the host is ready.
#[derive(Clone, Debug)]
pub struct HealthService {
    host: Arc<ModelHost>,
}

/// The health service for a tonic server. `Watch` is answered UNIMPLEMENTED: clients then ask again and again.
pub fn health_service(host: Arc<ModelHost>) -> HealthServer<HealthService> {
    HealthServer::new(HealthService { host })
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<health_proto::HealthCheckRequest>,
    ) -> Result<Response<health_proto::HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !service.is_empty() && service != SERVICE {
            return Err(Status::not_found(format!("no service `{service}` here; there is `{SERVICE}`")));
        }
        let ready = self.host.readiness().is_ready();
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(health_proto::HealthCheckResponse { status: status.into() }))
    }
}
