//! The backend that the server is given.

use crate::device::{Device, DeviceSpec};
use crate::flow::Flow;
use crate::parallel::partition::{balance, from_cuts};
use crate::source::{ModelSource, OpenedModel, SourceError};
use crate::stage::CandleStage;
use statmux_core::backend::{Backend, BackendError, Generate, Input, ModelCard, Sampling, StagePlan, Step, Task, Text};
use statmux_core::{DeviceId, ModelId, ParallelConfig};
use std::collections::BTreeMap;
use std::ops::Range;
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
    /// For some numbers of stages, where to cut: the first layer of each stage but the first. Other numbers of
    /// stages are cut so that each multiplies with about as many weights, the head of decoders included.
    pub cuts: BTreeMap<u32, Vec<usize>>,
    /// Whether an encoder's masked-language-model head is loaded, if it has one.
    pub masked_logits: bool,
}

/// A model that can be loaded.
pub(crate) struct Model {
    pub(crate) opened: OpenedModel,
    pub(crate) masked_logits: bool,
    cuts: BTreeMap<u32, Vec<usize>>,
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
        })
    }

    fn text(&self, model: ModelId) -> Result<Option<Arc<dyn Text>>, BackendError> {
        Ok(self.model(model)?.opened.text.clone())
    }
}

impl Model {
    /// The layers of each stage under `config`.
    pub(crate) fn stages(&self, id: ModelId, config: ParallelConfig) -> Result<Vec<Range<usize>>, BackendError> {
        let sizes = self.opened.config.sizes();
        let bad = |what: &str, count: usize| {
            Err(BackendError::BadPlan { reason: format!("model {id} has {count} {what}, too few for {config}") })
        };
        let shards = config.op as usize;
        if sizes.heads.queries < shards {
            return bad("attention heads", sizes.heads.queries);
        }
        if let Some(experts) = sizes.experts.filter(|&experts| experts < shards) {
            return bad("experts", experts);
        }
        if sizes.vocabulary < shards || sizes.widest < shards {
            return bad("words or inner values", sizes.vocabulary.min(sizes.widest));
        }
        if let Some(cuts) = self.cuts.get(&config.pp) {
            let stages = from_cuts(cuts, sizes.layers).filter(|stages| stages.len() == config.pp as usize);
            return stages.ok_or_else(|| BackendError::BadPlan {
                reason: format!("cuts {cuts:?} do not make {} stages of {} layers", config.pp, sizes.layers),
            });
        }
        let (costs, head) = self.opened.config.costs();
        match balance(&costs, 0.0, head, config.pp as usize) {
            Some(stages) => Ok(stages),
            None => bad("layers", sizes.layers),
        }
    }

    /// Whether the model can answer `input`.
    fn check(&self, input: &Input) -> Result<(), BackendError> {
        let (sizes, max_tokens) = (self.opened.config.sizes(), self.opened.max_tokens);
        let bad = |reason: String| Err(BackendError::BadInput { reason });
        let architecture = self.opened.config.architecture();
        let tokens = match input {
            Input::Embed(_) | Input::MaskedLogits { .. } if self.opened.config.is_decoder() => {
                return bad(format!("the model is a decoder ({architecture}): it generates, and does not embed"));
            }
            Input::Generate(_) if !self.opened.config.is_decoder() => {
                return bad(format!("the model is an encoder ({architecture}): it embeds, and does not generate"));
            }
            Input::MaskedLogits { .. } if !self.masked_logits => {
                return bad("the model has no masked-language-model head".into());
            }
            Input::Embed(passage) | Input::MaskedLogits { passage, .. } => {
                passage.check_marks(sizes.token_types as u32)?;
                passage.present().map(|index| passage.tokens[index]).collect()
            }
            Input::Generate(generate) => {
                check_generate(generate)?;
                if generate.tokens.len() >= max_tokens {
                    let (found, most) = (generate.tokens.len(), max_tokens);
                    return bad(format!("the prompt has {found} tokens and leaves no room in the context of {most}"));
                }
                generate.tokens.clone()
            }
        };
        if tokens.is_empty() {
            return bad("the text has no tokens".into());
        }
        if tokens.len() > max_tokens {
            return bad(format!("the text has {} tokens; the model takes {}", tokens.len(), max_tokens));
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= sizes.vocabulary) {
            return bad(format!("token {token} is not in the vocabulary of {} words", sizes.vocabulary));
        }
        let Input::MaskedLogits { passage, positions } = input else { return Ok(()) };
        if positions.len() > max_tokens {
            return bad(format!("{} positions are more than the {} tokens of a text", positions.len(), max_tokens));
        }
        if let Some(&position) = positions.iter().find(|&&position| !passage.has(position as usize)) {
            let length = passage.tokens.len();
            return match passage.tokens.get(position as usize) {
                None => bad(format!("position {position} is beyond the text of {length} tokens")),
                Some(_) => bad(format!("position {position} is padding: there is nothing to guess")),
            };
        }
        Ok(())
    }
}

fn check_generate(generate: &Generate) -> Result<(), BackendError> {
    let bad = |reason: &str| Err(BackendError::BadInput { reason: reason.to_owned() });
    if generate.max_new_tokens == 0 {
        return bad("max_new_tokens must be at least 1");
    }
    if let Sampling::Draw { temperature, top_p, .. } = generate.sampling {
        if !(temperature > 0.0 && temperature.is_finite()) {
            return bad("the temperature must be above 0");
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return bad("top_p must be above 0 and at most 1");
        }
    }
    Ok(())
}
