//! Metrics in the forms Prometheus reads: requests as they end, batches as they are launched, `http` requests as
//! they are answered, the [`Board`] and the `process` as they stand at the scrape.
//!
//! A metric is added in the file of its kind; its name follows Prometheus' conventions (base units, `_total` for
//! counters, which the `exposition` adds), its help is a sentence without the full stop, which the registry adds.

mod board;
pub(crate) mod exposition;
mod http;
mod process;
mod totals;

use crate::board::Board;
use crate::course::{Course, Tokens};
use crate::event_log::LogHealth;
use crate::request::Cause;
use exposition::Form;
pub use http::HttpStatistics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use statmux_core::{Group, ModelId, Span};
use std::sync::Arc;
use totals::Growing;
pub use totals::Totals;

/// All metrics of a server.
#[derive(Debug)]
pub struct Statistics {
    registry: Registry,
    names: Vec<String>,
    counts: Counts,
    models: Vec<ModelStatistics>,
    /// Open connections.
    pub connections: Gauge,
    /// Requests as the HTTP front sees them.
    pub http: HttpStatistics,
}

/// What is counted for as long as the server runs, whatever it serves.
#[derive(Clone, Debug)]
struct Counts {
    requests: Family<RequestLabels, Counter>,
    seconds: Histograms,
    queue: Histograms,
    first_token: Histograms,
    batches: Histograms,
    prompt_tokens: Family<ModelLabels, Counter>,
    generated_tokens: Family<ModelLabels, Counter>,
    http: HttpStatistics,
    totals: Arc<[Growing]>,
    log: Option<LogHealth>,
}

type Histograms = Family<ModelLabels, Histogram, fn() -> Histogram>;

/// Handles for one model, so that counting needs no look-up.
#[derive(Debug)]
struct ModelStatistics {
    in_slo: Counter,
    late: Counter,
    refused: Vec<(&'static str, Counter)>,
    seconds: Histogram,
    queue_seconds: Histogram,
    first_token_seconds: Histogram,
    batches: Histogram,
    prompt_tokens: Counter,
    generated_tokens: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    model: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    os: &'static str,
    arch: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

/// Why requests are refused, as named by [`Cause::name`].
const REFUSED: [&str; 12] = [
    "too_late",
    "queue_full",
    "no_replica",
    "group_lost",
    "cost_group",
    "cancelled",
    "draining",
    "replacing",
    "overloaded",
    "bad_input",
    "out_of_memory",
    "backend_failed",
];

fn histogram() -> Histogram {
    // From 1 ms to 65 s.
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

fn batch_histogram() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 10))
}

impl Statistics {
    /// Metrics for the given models, groups and board, beside the counts of the HTTP front and, if one is written, of
    /// the event log.
    pub(crate) fn new(
        models: &[String],
        groups: Vec<Group>,
        board: Arc<Board>,
        http: HttpStatistics,
        log: Option<&LogHealth>,
    ) -> Self {
        let counts = Counts {
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            queue: Family::new_with_constructor(histogram),
            first_token: Family::new_with_constructor(histogram),
            batches: Family::new_with_constructor(batch_histogram),
            prompt_tokens: Family::default(),
            generated_tokens: Family::default(),
            http,
            totals: models.iter().map(|_| Growing::default()).collect(),
            log: log.cloned(),
        };
        Self::with_counts(counts, models.to_vec(), groups, board)
    }

    /// The same counts going on, for other groups and their board.
    pub(crate) fn succeeded(&self, groups: Vec<Group>, board: Arc<Board>) -> Self {
        Self::with_counts(self.counts.clone(), self.names.clone(), groups, board)
    }

    fn with_counts(counts: Counts, models: Vec<String>, groups: Vec<Group>, board: Arc<Board>) -> Self {
        let mut whole = Registry::default();
        whole.register_collector(Box::new(process::ProcessCollector));
        let registry = whole.sub_registry_with_prefix("statmux");
        let Counts {
            requests, seconds, queue, first_token, batches, prompt_tokens, generated_tokens, http, log, ..
        } = counts.clone();
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION"), os, arch }).set(1);
        registry.register("build_info", "What this server is; always 1", build);
        registry.register("requests", "Requests by model and outcome", requests.clone());
        registry.register("request_seconds", "Time from arrival to answer of served requests", seconds.clone());
        registry.register("request_queue_seconds", "Time from arrival to launch of served requests", queue.clone());
        registry.register(
            "time_to_first_token_seconds",
            "Time from arrival to the first generated token",
            first_token.clone(),
        );
        registry.register("batch_size", "Requests in a batch at its launch", batches.clone());
        registry.register("prompt_tokens", "Tokens taken in by served requests", prompt_tokens.clone());
        registry.register("generated_tokens", "Tokens generated for served requests", generated_tokens.clone());
        http.register(registry);
        if let Some(LogHealth { written, missing, errors }) = log {
            registry.register("event_log_lines", "Lines written to the event log", written);
            registry.register("event_log_missing_lines", "Lines left out of the event log", missing);
            registry.register("event_log_write_errors", "Attempts to write the event log that failed", errors);
        }
        let per_model = |model: &String| {
            let count = |outcome| requests.get_or_create_owned(&RequestLabels { model: model.clone(), outcome });
            let labels = ModelLabels { model: model.clone() };
            ModelStatistics {
                in_slo: count("in_slo"),
                late: count("late"),
                refused: REFUSED.map(|outcome| (outcome, count(outcome))).to_vec(),
                seconds: seconds.get_or_create_owned(&labels),
                queue_seconds: queue.get_or_create_owned(&labels),
                first_token_seconds: first_token.get_or_create_owned(&labels),
                batches: batches.get_or_create_owned(&labels),
                prompt_tokens: prompt_tokens.get_or_create_owned(&labels),
                generated_tokens: generated_tokens.get_or_create_owned(&labels),
            }
        };
        let per_model = models.iter().map(per_model).collect();
        registry.register_collector(Box::new(board::BoardCollector { board, groups, models: models.clone() }));
        let connections = http.connections.clone();
        Self { registry: whole, names: models, counts, models: per_model, connections, http }
    }

    pub(crate) fn launched(&self, model: ModelId, size: usize) {
        self.models[model.index()].batches.observe(size as f64);
        self.counts.totals[model.index()].launch();
    }

    pub(crate) fn first_token(&self, model: ModelId, after: Span) {
        self.models[model.index()].first_token_seconds.observe(after.seconds());
    }

    pub(crate) fn served(&self, model: ModelId, course: &Course, tokens: Tokens) {
        self.counts.totals[model.index()].serve(course);
        let model = &self.models[model.index()];
        let counter = if course.in_slo { &model.in_slo } else { &model.late };
        counter.inc();
        model.seconds.observe(course.finished.since(course.arrived).seconds());
        model.queue_seconds.observe(course.started.since(course.arrived).seconds());
        model.prompt_tokens.inc_by(tokens.prompt);
        model.generated_tokens.inc_by(tokens.generated);
    }

    pub(crate) fn refused(&self, model: ModelId, cause: &Cause) {
        self.counts.totals[model.index()].refuse();
        let name = cause.name();
        let counters = &self.models[model.index()].refused;
        if let Some((_, counter)) = counters.iter().find(|(outcome, _)| *outcome == name) {
            counter.inc();
        }
    }

    /// Sums of `model` so far.
    pub fn totals(&self, model: ModelId) -> Totals {
        self.counts.totals[model.index()].so_far()
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        self.exposition(Form::Text)
    }

    /// All metrics in the form asked for.
    pub(crate) fn exposition(&self, form: Form) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a string succeeds");
        form.of(text)
    }
}
