//! The stages of one group, each on its own thread, run one batch at a time or several.

use crate::group::stage::guarded;
use statmux_core::backend::{Backend, BackendError, Stage, StagePlan, Step};
use statmux_core::{Bytes, DeviceId, GroupId, ModelId, ParallelConfig};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

/// What a stage thread says: its memory once it is open, then the result of each lap of each batch.
enum Said<F> {
    Open(Result<Bytes, BackendError>),
    Ran { batch: usize, step: Result<Step<F>, BackendError>, seconds: f64, memory: Bytes },
}

/// A batch on its way, by number.
type Numbered<F> = (usize, F);

/// Open stages.
pub(super) struct Pipeline<F> {
    stages: Vec<Sender<Numbered<F>>>,
    /// By stage, whatever it says.
    said: Receiver<(usize, Said<F>)>,
    memory: Vec<Bytes>,
}

/// One batch, all laps together.
#[derive(Clone)]
pub(super) struct Ran {
    /// Time on each stage.
    pub(super) seconds: Vec<f64>,
    /// Memory of each stage after its last lap.
    pub(super) memory: Vec<Bytes>,
}

impl<F: Send + 'static> Pipeline<F> {
    /// Opens a group on the first devices for `model`, has `work` use it, and closes it.
    pub(super) fn with<B: Backend<Flow = F>, T>(
        backend: &B,
        model: ModelId,
        config: ParallelConfig,
        work: impl FnOnce(&Self) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        thread::scope(|scope| {
            let (outbox, said) = channel();
            let mut pipeline = Self { stages: Vec::new(), said, memory: vec![Bytes::ZERO; config.pp as usize] };
            for stage in 0..config.pp {
                let devices = (stage * config.op..(stage + 1) * config.op).map(DeviceId).collect();
                let plan = StagePlan { group: GroupId(0), config, stage, devices, models: vec![model] };
                let (flows, inbox) = channel();
                let outbox = outbox.clone();
                scope.spawn(move || serve(backend, &plan, &inbox, &outbox));
                pipeline.stages.push(flows);
            }
            drop(outbox);
            for _ in 0..config.pp {
                match pipeline.hear()? {
                    (stage, Said::Open(memory)) => pipeline.memory[stage] = memory?,
                    (stage, Said::Ran { .. }) => return Err(out_of_turn(stage)),
                }
            }
            // Dropping the pipeline at the end lets the threads go.
            work(&pipeline)
        })
    }

    /// Memory of each stage before anything ran.
    pub(super) fn memory(&self) -> &[Bytes] {
        &self.memory
    }

    /// Runs `count` batches that `start` makes, at most `inside` of them at a time.
    pub(super) fn run(
        &self,
        count: usize,
        inside: usize,
        mut start: impl FnMut() -> Result<F, BackendError>,
    ) -> Result<Vec<Ran>, BackendError> {
        let last = self.stages.len() - 1;
        let mut ran = vec![Ran { seconds: vec![0.0; self.stages.len()], memory: self.memory.clone() }; count];
        let (mut entered, mut left) = (0, 0);
        while left < count {
            while entered < count && entered - left < inside {
                self.send(0, (entered, start()?))?;
                entered += 1;
            }
            let (stage, said) = self.hear()?;
            let Said::Ran { batch, step, seconds, memory } = said else { return Err(out_of_turn(stage)) };
            ran[batch].seconds[stage] += seconds;
            ran[batch].memory[stage] = ran[batch].memory[stage].max(memory);
            match step? {
                Step::Next(flow) if stage < last => self.send(stage + 1, (batch, flow))?,
                Step::Again { flow, .. } if stage == last => self.send(0, (batch, flow))?,
                Step::Done(_) if stage == last => left += 1,
                _ => return Err(out_of_turn(stage)),
            }
        }
        Ok(ran)
    }

    fn send(&self, stage: usize, flow: Numbered<F>) -> Result<(), BackendError> {
        let gone = |_| BackendError::StageLost { reason: format!("stage {stage} is gone") };
        self.stages[stage].send(flow).map_err(gone)
    }

    fn hear(&self) -> Result<(usize, Said<F>), BackendError> {
        self.said.recv().map_err(|_| BackendError::StageLost { reason: "all stages are gone".to_owned() })
    }
}

fn out_of_turn(stage: usize) -> BackendError {
    BackendError::StageLost { reason: format!("stage {stage} answered out of turn") }
}

fn serve<B: Backend>(
    backend: &B,
    plan: &StagePlan,
    inbox: &Receiver<Numbered<B::Flow>>,
    outbox: &Sender<(usize, Said<B::Flow>)>,
) {
    // Whoever asked is gone only if it failed itself.
    let say = |said| outbox.send((plan.stage as usize, said)).is_ok();
    let mut stage = match guarded(|| backend.open(plan)) {
        Ok(stage) => stage,
        Err(error) => {
            say(Said::Open(Err(error)));
            return;
        }
    };
    say(Said::Open(Ok(stage.memory())));
    while let Ok((batch, flow)) = inbox.recv() {
        let started = Instant::now();
        let step = guarded(|| stage.run(flow));
        let seconds = started.elapsed().as_secs_f64();
        if !say(Said::Ran { batch, step, seconds, memory: stage.memory() }) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::backend::{Input, ModelCard, Output, Text};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// Counts the batches inside; the flow is the lap, of three.
    #[derive(Default)]
    struct Counting {
        inside: AtomicUsize,
        most: AtomicUsize,
        /// The batch at whose start the first stage panics, counted from one; 0 for none.
        panics: usize,
        started: AtomicUsize,
    }

    #[derive(Clone)]
    struct Shared(Arc<Counting>);

    struct CountingStage {
        backend: Shared,
        plan: StagePlan,
    }

    impl Backend for Shared {
        type Flow = u32;
        type Stage = CountingStage;

        fn open(&self, plan: &StagePlan) -> Result<CountingStage, BackendError> {
            Ok(CountingStage { backend: self.clone(), plan: plan.clone() })
        }

        fn start(&self, _: ModelId, _: Vec<Input>) -> Result<u32, BackendError> {
            Ok(0)
        }

        fn end(&self, _: u32, _: &[usize]) -> Step<u32> {
            unreachable!("pipelines run batches to their end")
        }

        fn card(&self, _: ModelId) -> Result<ModelCard, BackendError> {
            unreachable!("pipelines ask for no card")
        }

        fn text(&self, _: ModelId) -> Result<Option<Arc<dyn Text>>, BackendError> {
            Ok(None)
        }
    }

    impl Stage for CountingStage {
        type Flow = u32;

        fn run(&mut self, lap: u32) -> Result<Step<u32>, BackendError> {
            let Counting { inside, most, panics, started } = &*self.backend.0;
            let last = self.plan.stage + 1 == self.plan.config.pp;
            if self.plan.stage == 0 && lap == 0 {
                most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                assert_ne!(started.fetch_add(1, SeqCst) + 1, *panics, "as the test wants");
            }
            match (last, lap) {
                (false, _) => Ok(Step::Next(lap)),
                (true, 2) => {
                    inside.fetch_sub(1, SeqCst);
                    Ok(Step::Done(vec![Output::Embedding(Vec::new())]))
                }
                (true, _) => Ok(Step::Again { flow: lap + 1, tokens: vec![None] }),
            }
        }

        fn memory(&self) -> Bytes {
            Bytes::new(u64::from(self.plan.stage) + 1)
        }
    }

    fn counting(panics: usize) -> Shared {
        Shared(Arc::new(Counting { panics, ..Counting::default() }))
    }

    fn run(counting: &Shared, inside: usize) -> Result<Vec<Ran>, BackendError> {
        let config = ParallelConfig::new(1, 3);
        Pipeline::with(counting, ModelId(0), config, |pipeline| {
            assert_eq!(pipeline.memory(), [1, 2, 3].map(Bytes::new));
            pipeline.run(20, inside, || Ok(0))
        })
    }

    #[test]
    fn every_batch_ends_and_no_more_than_allowed_are_inside() {
        for inside in [1, 2, 4] {
            let counting = counting(0);
            let ran = run(&counting, inside).expect("nothing fails");
            assert_eq!((ran.len(), counting.0.started.load(SeqCst)), (20, 20));
            assert!(ran.iter().all(|ran| ran.seconds.iter().all(|&seconds| seconds > 0.0)));
            assert!(counting.0.most.load(SeqCst) <= inside);
        }
    }

    #[test]
    fn a_panic_in_a_stage_ends_the_run_with_an_error() {
        let error = run(&counting(7), 4).map(|_| ()).expect_err("the seventh batch panics");
        assert!(error.to_string().contains("as the test wants"), "{error}");
    }
}
