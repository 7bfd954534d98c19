//! A backend that loads and runs nothing while its gates are shut.

use statmux_core::backend::{Backend, BackendError, Input, ModelCard, Stage, StagePlan, Step, Text};
use statmux_core::{Bytes, ModelId, Span};
use statmux_serve::{SleepBackend, Supervision};
use std::sync::{Arc, Condvar, Mutex};

/// Something that threads wait at while it is shut.
#[derive(Debug, Default)]
pub struct Gate {
    is_shut: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub fn shut(&self) {
        *self.is_shut.lock().expect("nobody panics while holding it") = true;
    }

    pub fn open(&self) {
        *self.is_shut.lock().expect("nobody panics while holding it") = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let is_shut = self.is_shut.lock().expect("nobody panics while holding it");
        drop(self.changed.wait_while(is_shut, |is_shut| *is_shut).expect("nobody panics while holding it"));
    }
}

/// Sleeps, behind gates.
#[derive(Debug)]
pub struct Gated {
    inner: SleepBackend,
    /// Before a stage is loaded.
    pub loading: Gate,
    /// Before a stage runs.
    pub running: Arc<Gate>,
}

impl Gated {
    /// Both gates are open.
    pub fn new(inner: SleepBackend) -> Arc<Self> {
        Arc::new(Self { inner, loading: Gate::default(), running: Arc::default() })
    }
}

/// Supervision that takes nobody at a gate for hung.
pub fn patient() -> Supervision {
    let hour = Span::from_millis(3_600_000);
    Supervision { hang_minimum: hour, opening_limit: hour, ..Supervision::default() }
}

/// A stage behind a gate.
#[derive(Debug)]
pub struct GatedStage {
    inner: <SleepBackend as Backend>::Stage,
    gate: Arc<Gate>,
}

impl Backend for Gated {
    type Flow = <SleepBackend as Backend>::Flow;
    type Stage = GatedStage;

    fn open(&self, plan: &StagePlan) -> Result<GatedStage, BackendError> {
        self.loading.pass();
        Ok(GatedStage { inner: self.inner.open(plan)?, gate: Arc::clone(&self.running) })
    }

    fn start(&self, model: ModelId, inputs: Vec<Input>) -> Result<Self::Flow, BackendError> {
        self.inner.start(model, inputs)
    }

    fn end(&self, flow: Self::Flow, members: &[usize]) -> Step<Self::Flow> {
        self.inner.end(flow, members)
    }

    fn card(&self, model: ModelId) -> Result<ModelCard, BackendError> {
        self.inner.card(model)
    }

    fn text(&self, model: ModelId) -> Result<Option<Arc<dyn Text>>, BackendError> {
        self.inner.text(model)
    }
}

impl Stage for GatedStage {
    type Flow = <SleepBackend as Backend>::Flow;

    fn run(&mut self, flow: Self::Flow) -> Result<Step<Self::Flow>, BackendError> {
        self.gate.pass();
        self.inner.run(flow)
    }

    fn memory(&self) -> Bytes {
        self.inner.memory()
    }
}
