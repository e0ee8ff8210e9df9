//! `grpc.health.v1` on the operators' port.

use tonic::service::RoutesBuilder;
use tonic_health::ServingStatus;
pub use tonic_health::server::HealthReporter as Reporter;

/// Largest question.
const MESSAGE: usize = 4 * 1024;

/// Adds the service; what it says is told through the reporter.
pub fn add(routes: &mut RoutesBuilder) -> Reporter {
    let (reporter, service) = tonic_health::server::health_reporter();
    routes.add_service(service.max_decoding_message_size(MESSAGE));
    reporter
}

/// Says whether the whole is serving.
pub async fn report(reporter: &Reporter, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    reporter.set_service_status("", status).await;
}
