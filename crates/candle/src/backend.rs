//! The backend that the server is given.

use crate::device::{Device, DeviceSpec};
use crate::flow::Flow;
use crate::model::Model;
use crate::source::ModelSource;
use crate::source_error::SourceError;
use crate::stage::CandleStage;
use statmux_core::backend::{Backend, BackendError, Input, ModelCard, StagePlan, Step, Task, Text};
use statmux_core::{DeviceId, ModelId, ParallelConfig};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Devices, and models that can be loaded on them.
pub struct CandleBackend {
    devices: Vec<Arc<Device>>,
    models: Vec<Arc<Model>>,
}

/// A model to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelChoice {
    /// Where it comes from.
    pub source: ModelSource,
    /// For some configurations, where to cut: the first layer of each stage but the first. Others are cut so that each
    /// stage multiplies with about as many weights, the head of decoders included.
    pub cuts: BTreeMap<ParallelConfig, Vec<usize>>,
    /// Whether an encoder's masked-language-model head is loaded, if it has one.
    pub masked_logits: bool,
}

impl ModelChoice {
    /// The model with all it has, cut as seems best.
    pub fn new(source: ModelSource) -> Self {
        Self { source, cuts: BTreeMap::new(), masked_logits: true }
    }
}

impl CandleBackend {
    /// Opens the devices (the first has id 0) and the files of the models (likewise); loads no weights yet.
    pub fn new(devices: &[DeviceSpec], models: &[ModelChoice]) -> Result<Self, BackendError> {
        let devices = devices
            .iter()
            .enumerate()
            .map(|(index, &spec)| Device::open(DeviceId::from_index(index), spec).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let open = |(index, choice): (usize, &ModelChoice)| {
            let cause =
                |cause: SourceError| BackendError::Load { model: ModelId::from_index(index), cause: Box::new(cause) };
            let opened = choice.source.open().map_err(cause)?;
            let masked_logits =
                choice.masked_logits && !opened.config.is_decoder() && opened.weights.has("cls.predictions.bias");
            Ok(Arc::new(Model { opened, masked_logits, cuts: choice.cuts.clone() }))
        };
        Ok(Self { devices, models: models.iter().enumerate().map(open).collect::<Result<_, _>>()? })
    }

    /// What each layer of `model` costs per token, and what its head does, in weights multiplied with: what stages
    /// are balanced by unless measured cuts are given.
    pub fn layer_costs(&self, model: ModelId) -> Result<(Vec<f64>, f64), BackendError> {
        Ok(self.model(model)?.opened.config.costs())
    }

    /// The attention heads of `model`: what its layers are split by.
    pub fn heads(&self, model: ModelId) -> Result<usize, BackendError> {
        Ok(self.model(model)?.opened.config.sizes().heads.queries)
    }

    fn model(&self, id: ModelId) -> Result<&Arc<Model>, BackendError> {
        let unknown = || BackendError::BadPlan { reason: format!("there is no model {id}") };
        self.models.get(id.index()).ok_or_else(unknown)
    }
}

impl Backend for CandleBackend {
    type Flow = Flow;
    type Stage = CandleStage;

    fn open(&self, plan: &StagePlan) -> Result<CandleStage, BackendError> {
        let bad = |reason: String| Err(BackendError::BadPlan { reason });
        if plan.config.op as usize != plan.devices.len() || plan.devices.is_empty() {
            return bad(format!("a stage of {} needs as many devices, not {}", plan.config, plan.devices.len()));
        }
        if plan.stage >= plan.config.pp {
            return bad(format!("{} has no stage {}", plan.config, plan.stage));
        }
        let mut devices = Vec::with_capacity(plan.devices.len());
        for (position, id) in plan.devices.iter().enumerate() {
            match self.devices.get(id.index()) {
                Some(_) if plan.devices[..position].contains(id) => return bad(format!("device {id} is named twice")),
                Some(device) => devices.push(Arc::clone(device)),
                None => return bad(format!("there is no device {id}")),
            }
        }
        let model = |&id: &ModelId| Ok((id, Arc::clone(self.model(id)?)));
        let models = plan.models.iter().map(model).collect::<Result<Vec<_>, BackendError>>()?;
        CandleStage::open(plan, devices, &models)
    }

    fn start(&self, model: ModelId, inputs: Vec<Input>) -> Result<Flow, BackendError> {
        let known = self.model(model)?;
        let bad = |reason: &str| BackendError::BadInput { reason: reason.to_owned() };
        if inputs.is_empty() {
            return Err(bad("a batch has at least one input"));
        }
        for input in &inputs {
            known.check(input)?;
        }
        Ok(Flow::new(model, inputs, &known.opened.stop_tokens, known.opened.max_tokens))
    }

    fn end(&self, flow: Flow, members: &[usize]) -> Step<Flow> {
        flow.end(members)
    }

    fn card(&self, model: ModelId) -> Result<ModelCard, BackendError> {
        let model = self.model(model)?;
        let sizes = model.opened.config.sizes();
        let small = |count: usize| u32::try_from(count).expect("sizes were checked when the configuration was read");
        Ok(ModelCard {
            architecture: model.opened.config.architecture().to_owned(),
            task: if model.opened.config.is_decoder() {
                Task::Generate
            } else {
                Task::Encode { masked_logits: model.masked_logits }
            },
            vocabulary: small(sizes.vocabulary),
            max_tokens: small(model.opened.max_tokens),
            hidden: small(sizes.hidden),
            embedding: small(model.opened.sentence.width(sizes.hidden)),
            token_types: small(sizes.token_types),
            usual_answer: None,
        })
    }

    fn text(&self, model: ModelId) -> Result<Option<Arc<dyn Text>>, BackendError> {
        Ok(self.model(model)?.opened.text.clone())
    }
}
