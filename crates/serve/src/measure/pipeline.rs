//! The stages of one group, each on its own thread, run one after the other.

use statmux_core::backend::{Backend, BackendError, Stage, StagePlan, Step};
use statmux_core::{Bytes, DeviceId, GroupId, ModelId, ParallelConfig};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

/// What a stage thread says: its memory once it is open, then the result of each lap.
enum Said<F> {
    Open(Result<Bytes, BackendError>),
    Ran { step: Result<Step<F>, BackendError>, seconds: f64, memory: Bytes },
}

/// Open stages.
pub(super) struct Pipeline<F> {
    stages: Vec<(Sender<F>, Receiver<Said<F>>)>,
    memory: Vec<Bytes>,
}

/// One batch, all laps together.
pub(super) struct Ran {
    /// Time on each stage.
    pub(super) seconds: Vec<f64>,
    /// Memory of each stage after its last lap.
    pub(super) memory: Vec<Bytes>,
}

impl<F: Send + 'static> Pipeline<F> {
    /// Opens a group on the first devices for `model` alone, has `work` use it, and closes it.
    pub(super) fn with<B: Backend<Flow = F>, T>(
        backend: &B,
        model: ModelId,
        config: ParallelConfig,
        work: impl FnOnce(&mut Self) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        thread::scope(|scope| {
            let mut pipeline = Self { stages: Vec::new(), memory: Vec::new() };
            for stage in 0..config.pp {
                let devices = (stage * config.op..(stage + 1) * config.op).map(DeviceId).collect();
                let plan = StagePlan { group: GroupId(0), config, stage, devices, models: vec![model] };
                let (flows, inbox) = channel();
                let (outbox, said) = channel();
                scope.spawn(move || serve(backend, &plan, &inbox, &outbox));
                pipeline.stages.push((flows, said));
            }
            for stage in 0..config.pp as usize {
                match pipeline.hear(stage)? {
                    Said::Open(memory) => pipeline.memory.push(memory?),
                    Said::Ran { .. } => return Err(lost(stage)),
                }
            }
            // Dropping the pipeline at the end lets the threads go.
            work(&mut pipeline)
        })
    }

    /// Memory of each stage before anything ran.
    pub(super) fn memory(&self) -> Vec<Bytes> {
        self.memory.clone()
    }

    pub(super) fn run(&mut self, flow: F) -> Result<Ran, BackendError> {
        let stages = self.stages.len();
        let mut ran = Ran { seconds: vec![0.0; stages], memory: self.memory.clone() };
        let (mut flow, mut stage) = (flow, 0);
        loop {
            self.stages[stage].0.send(flow).map_err(|_| lost(stage))?;
            let Said::Ran { step, seconds, memory } = self.hear(stage)? else { return Err(lost(stage)) };
            ran.seconds[stage] += seconds;
            ran.memory[stage] = ran.memory[stage].max(memory);
            (flow, stage) = match step? {
                Step::Next(flow) if stage + 1 < stages => (flow, stage + 1),
                Step::Again { flow, .. } => (flow, 0),
                Step::Done(_) => return Ok(ran),
                Step::Next(_) => return Err(lost(stage)),
            };
        }
    }

    fn hear(&self, stage: usize) -> Result<Said<F>, BackendError> {
        self.stages[stage].1.recv().map_err(|_| lost(stage))
    }
}

fn lost(stage: usize) -> BackendError {
    BackendError::StageLost { reason: format!("stage {stage} is gone, or answered out of turn") }
}

fn serve<B: Backend>(backend: &B, plan: &StagePlan, inbox: &Receiver<B::Flow>, outbox: &Sender<Said<B::Flow>>) {
    let mut stage = match backend.open(plan) {
        Ok(stage) => stage,
        Err(error) => {
            // Whoever asked is gone only if it failed itself.
            let _ = outbox.send(Said::Open(Err(error)));
            return;
        }
    };
    let _ = outbox.send(Said::Open(Ok(stage.memory())));
    while let Ok(flow) = inbox.recv() {
        let started = Instant::now();
        let step = stage.run(flow);
        let seconds = started.elapsed().as_secs_f64();
        if outbox.send(Said::Ran { step, seconds, memory: stage.memory() }).is_err() {
            return;
        }
    }
}
