//! Requests as the HTTP front sees them, whatever they ask for.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counts of the HTTP front, for as long as the server runs.
#[derive(Clone, Debug, Default)]
pub struct HttpStatistics {
    requests: Family<HttpLabels, Counter>,
    /// Requests whose answers have not gone out whole.
    pub(crate) in_flight: Gauge,
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Connections that were turned away because there were too many.
    pub(crate) turned_away: Counter,
}

/// Labels of a request: few values each, whatever clients send.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    method: &'static str,
    /// The template that matched, not what was asked for.
    path: String,
    status: u16,
}

impl HttpStatistics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "HTTP requests by method, path template and status", self.requests.clone());
        registry.register(
            "http_requests_in_flight",
            "HTTP requests whose answers have not gone out whole",
            self.in_flight.clone(),
        );
        registry.register("connections", "Open client connections", self.connections.clone());
        registry.register(
            "connections_turned_away",
            "Connections closed at once because there were too many",
            self.turned_away.clone(),
        );
    }

    /// A request for the path that `template` matched (none: no path did) was answered with `status`.
    pub(crate) fn answered(&self, method: &str, template: Option<&str>, status: u16) {
        const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        let path = template.unwrap_or("other").to_owned();
        self.requests.get_or_create(&HttpLabels { method, path, status }).inc();
    }
}
