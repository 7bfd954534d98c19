//! What Triton's clients ask about models beside the Open Inference Protocol: configurations, statistics, and the list
//! of models.

use crate::gateway::ServedModel;
use crate::http::Front;
use crate::http::ask::{model as find, receive, respond};
use crate::http::error::{ApiError, IndexErrors, KeyErrors, ModelErrors};
use crate::http::fields::{Field, Fields, schema, taken};
use crate::http::inference::check_version;
use crate::http::metadata::{TensorMetadata, VERSION, metadata};
use crate::http::openai::json;
use crate::statistics::Totals;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Serialize;
use std::sync::Arc;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema as _, ToSchema};

#[derive(Serialize, ToSchema)]
pub(super) struct ModelConfig<'a> {
    name: &'a str,
    platform: String,
    backend: &'static str,
    /// 0: shapes count the rows of a request; how many run together is the server's affair.
    max_batch_size: u32,
    input: Vec<TensorConfig>,
    output: Vec<TensorConfig>,
}

/// A tensor that a model takes or gives; -1 stands for any length.
#[derive(Serialize, ToSchema)]
pub(super) struct TensorConfig {
    name: &'static str,
    data_type: &'static str,
    dims: Vec<i64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct StatisticsBody<'a> {
    model_stats: Vec<ModelStatistics<'a>>,
}

/// What became of a model's requests since the server started.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelStatistics<'a> {
    name: &'a str,
    version: &'static str,
    /// Milliseconds since 1970; 0 before the first.
    last_inference: u64,
    inference_count: u64,
    execution_count: u64,
    inference_stats: InferenceStatistics,
    /// Empty: `/metrics` has the sizes of batches.
    #[schema(value_type = Vec<Object>)]
    batch_stats: [(); 0],
}

#[derive(Serialize, ToSchema)]
pub(super) struct InferenceStatistics {
    /// From arrival to answer.
    success: Duration,
    fail: Duration,
    /// From arrival to launch.
    queue: Duration,
    compute_input: Duration,
    /// From launch to answer.
    compute_infer: Duration,
    compute_output: Duration,
    cache_hit: Duration,
    cache_miss: Duration,
}

#[derive(Default, Serialize, ToSchema)]
pub(super) struct Duration {
    count: u64,
    ns: u64,
}

/// A model in the list.
#[derive(Serialize, ToSchema)]
pub(super) struct IndexEntry<'a> {
    name: &'a str,
    version: &'static str,
    /// `READY` or `UNAVAILABLE`.
    state: &'static str,
    reason: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct IndexRequest {
    ready: Option<bool>,
}

impl Fields for IndexRequest {
    const TABLES: &'static [&'static [Field<Self>]] =
        &[&[taken("ready", bool::schema, "Whether only models that are ready are wanted.", |ask, v| {
            v.put(&mut ask.ready)
        })]];
}

impl utoipa::PartialSchema for IndexRequest {
    fn schema() -> RefOr<Schema> {
        schema::<Self>()
    }
}

impl ToSchema for IndexRequest {}

/// A model's configuration, as Triton tells it.
#[utoipa::path(get, path = "/v2/models/{model}/config", tag = "Triton", params(("model" = String, Path)),
    responses((status = 200, description = "the configuration", body = ModelConfig), ModelErrors))]
pub(super) async fn config(State(front): State<Arc<Front>>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let model = find(&front, &name)?;
    let told = metadata(model);
    let tensors = |tensors: Vec<TensorMetadata>| {
        let tensor = |tensor: TensorMetadata| {
            let data_type = match tensor.datatype {
                "BYTES" => "TYPE_STRING",
                "FP32" => "TYPE_FP32",
                _ => "TYPE_INT64",
            };
            TensorConfig { name: tensor.name, data_type, dims: tensor.shape }
        };
        tensors.into_iter().map(tensor).collect()
    };
    let body = ModelConfig {
        name: &model.name,
        platform: told.platform,
        backend: "statmux",
        max_batch_size: 0,
        input: tensors(told.inputs),
        output: tensors(told.outputs),
    };
    Ok(respond(json(&body), "application/json", &[]))
}

/// The configuration of a version of a model.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/config", tag = "Triton",
    params(("model" = String, Path), ("version" = String, Path)),
    responses((status = 200, description = "the configuration", body = ModelConfig), ModelErrors))]
pub(super) async fn config_version(
    front: State<Arc<Front>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    check_version(&name, &version)?;
    config(front, Path(name)).await
}

/// What became of all models' requests.
#[utoipa::path(get, path = "/v2/models/stats", tag = "Triton",
    responses((status = 200, description = "counts and times", body = StatisticsBody), KeyErrors))]
pub(super) async fn all_statistics(State(front): State<Arc<Front>>) -> Response {
    let model_stats = front.gateway.models().iter().map(|model| statistics_of(&front, model)).collect();
    respond(json(&StatisticsBody { model_stats }), "application/json", &[])
}

/// What became of a model's requests.
#[utoipa::path(get, path = "/v2/models/{model}/stats", tag = "Triton", params(("model" = String, Path)),
    responses((status = 200, description = "counts and times", body = StatisticsBody), ModelErrors))]
pub(super) async fn statistics(
    State(front): State<Arc<Front>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let model_stats = vec![statistics_of(&front, find(&front, &name)?)];
    Ok(respond(json(&StatisticsBody { model_stats }), "application/json", &[]))
}

/// What became of requests to a version of a model.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/stats", tag = "Triton",
    params(("model" = String, Path), ("version" = String, Path)),
    responses((status = 200, description = "counts and times", body = StatisticsBody), ModelErrors))]
pub(super) async fn statistics_version(
    front: State<Arc<Front>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    check_version(&name, &version)?;
    statistics(front, Path(name)).await
}

fn statistics_of<'a>(front: &Front, model: &'a ServedModel) -> ModelStatistics<'a> {
    let Totals { served, batches, refused, queue_ns, run_ns, last_ms } = front.gateway.statistics().totals(model.id);
    let none = || Duration { count: served, ns: 0 };
    ModelStatistics {
        name: &model.name,
        version: VERSION,
        last_inference: last_ms,
        inference_count: served,
        execution_count: batches,
        inference_stats: InferenceStatistics {
            success: Duration { count: served, ns: queue_ns + run_ns },
            fail: Duration { count: refused, ns: 0 },
            queue: Duration { count: served, ns: queue_ns },
            compute_input: none(),
            compute_infer: Duration { count: served, ns: run_ns },
            compute_output: none(),
            cache_hit: Duration::default(),
            cache_miss: Duration::default(),
        },
        batch_stats: [],
    }
}

/// All models, and whether they can be asked.
#[utoipa::path(post, path = "/v2/repository/index", tag = "Triton", request_body = Option<IndexRequest>,
    responses((status = 200, description = "all models", body = [IndexEntry]), IndexErrors))]
pub(super) async fn index(State(front): State<Arc<Front>>, request: Request) -> Result<Response, ApiError> {
    let received = receive(&front, request).await?;
    let asked = if received.body.is_empty() { IndexRequest::default() } else { received.read(&front).await?.0 };
    let entry = |model: &ServedModel| match front.is_ready(model) {
        true => (true, ""),
        false if front.desk.is_leaving() || front.gateway.is_draining() => (false, "the server is shutting down"),
        false if front.gateway.is_replacing() => (false, "another placement is being loaded"),
        false if model.holders.is_empty() => (false, "no group holds it"),
        false => (false, "no group that holds it is up"),
    };
    let entries = front.gateway.models().iter().filter_map(|model| {
        let (ready, reason) = entry(model);
        let state = if ready { "READY" } else { "UNAVAILABLE" };
        (ready || asked.ready != Some(true)).then_some(IndexEntry {
            name: &model.name,
            version: VERSION,
            state,
            reason,
        })
    });
    Ok(respond(json(&entries.collect::<Vec<_>>()), "application/json", &[]))
}
