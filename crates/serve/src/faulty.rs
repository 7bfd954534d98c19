//! A backend that breaks on purpose, by seed or by request: for tests of everything around it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statmux_core::backend::{Backend, BackendError, Input, ModelCard, Stage, StagePlan, Step, Text};
use statmux_core::{Bytes, ModelId, Seed};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often what goes wrong, as probabilities for each run of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRates {
    /// The stage panics.
    pub panic: f64,
    /// It reports that it is lost.
    pub lost: f64,
    /// It does not come back for `hang_lasts`.
    pub hang: f64,
    /// The batch fails, and the stage lives on.
    pub fail: f64,
    /// It takes longer by `slow_by`.
    pub slow: f64,
    /// How long a hang lasts.
    pub hang_lasts: Duration,
    /// How much longer a slow run takes.
    pub slow_by: Duration,
    /// Opening a stage fails.
    pub open: f64,
    /// After so many faults all is well.
    pub at_most: u64,
}

impl Default for FaultRates {
    fn default() -> Self {
        Self {
            panic: 0.0,
            lost: 0.0,
            hang: 0.0,
            fail: 0.0,
            slow: 0.0,
            hang_lasts: Duration::from_secs(3600),
            slow_by: Duration::from_millis(1),
            open: 0.0,
            at_most: u64::MAX,
        }
    }
}

/// What a request does to the stage that runs it, wherever that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Harm {
    /// The stage panics.
    Panic,
    /// It reports that it is lost.
    Lost,
    /// It does not come back for so long.
    Hang(Duration),
    /// There is no memory for the batch.
    Memory,
    /// There is no memory for the batch unless the request is alone.
    MemoryInCompany,
    /// The request turns out to be wrong.
    Refused,
    /// The batch takes so much longer for each of its longest text's tokens.
    Slow(Duration),
}

/// Wraps a backend and breaks it.
#[derive(Debug)]
pub struct Faulty<B> {
    inner: B,
    rates: FaultRates,
    /// What requests do that begin with the token.
    harms: Vec<(u32, Harm)>,
    seed: Seed,
    opened: AtomicU64,
    faults: Arc<AtomicU64>,
}

impl<B> Faulty<B> {
    /// `inner`, broken at the given rates. The n-th stage to be opened draws from the n-th stream of `seed`.
    pub fn new(inner: B, rates: FaultRates, seed: Seed) -> Self {
        Self { inner, rates, harms: Vec::new(), seed, opened: AtomicU64::new(0), faults: Arc::default() }
    }

    /// The same, where requests that begin with `token` do harm, always on the same stage.
    pub fn poisoned(mut self, token: u32, harm: Harm) -> Self {
        self.harms.push((token, harm));
        self
    }

    /// How many faults there were.
    pub fn faults(&self) -> u64 {
        self.faults.load(Relaxed)
    }
}

/// A batch and the harm that is in it.
#[derive(Debug)]
pub struct FaultyFlow<F> {
    inner: F,
    harms: Vec<Harm>,
    size: usize,
    /// Of its longest text.
    tokens: usize,
}

/// A stage that breaks.
#[derive(Debug)]
pub struct FaultyStage<S> {
    inner: S,
    plan: StagePlan,
    rates: FaultRates,
    chance: ChaCha8Rng,
    faults: Arc<AtomicU64>,
}

impl<B: Backend> Backend for Faulty<B> {
    type Flow = FaultyFlow<B::Flow>;
    type Stage = FaultyStage<B::Stage>;

    fn open(&self, plan: &StagePlan) -> Result<Self::Stage, BackendError> {
        let nth = self.opened.fetch_add(1, Relaxed);
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed.nth(nth).0);
        if chance.random::<f64>() < self.rates.open && blame(&self.faults, self.rates.at_most) {
            return Err(BackendError::StageLost { reason: "injected: did not open".to_owned() });
        }
        let inner = self.inner.open(plan)?;
        Ok(FaultyStage { inner, plan: plan.clone(), rates: self.rates, chance, faults: Arc::clone(&self.faults) })
    }

    fn start(&self, model: ModelId, inputs: Vec<Input>) -> Result<Self::Flow, BackendError> {
        let of = |input: &Input| self.harms.iter().find(|(token, _)| input.tokens().first() == Some(token));
        let harms = inputs.iter().filter_map(of).map(|&(_, harm)| harm).collect();
        let (size, tokens) = (inputs.len(), inputs.iter().map(|input| input.tokens().len()).max().unwrap_or(0));
        Ok(FaultyFlow { inner: self.inner.start(model, inputs)?, harms, size, tokens })
    }

    fn end(&self, flow: Self::Flow, members: &[usize]) -> Step<Self::Flow> {
        let FaultyFlow { inner, harms, size, tokens } = flow;
        self.inner.end(inner, members).map(|inner| FaultyFlow { inner, harms, size, tokens })
    }

    fn card(&self, model: ModelId) -> Result<ModelCard, BackendError> {
        self.inner.card(model)
    }

    fn text(&self, model: ModelId) -> Result<Option<Arc<dyn Text>>, BackendError> {
        self.inner.text(model)
    }
}

impl<S> FaultyStage<S> {
    /// Does the harm that is in `flow`, if this is the stage for it.
    fn suffer<F>(&self, flow: &FaultyFlow<F>) -> Result<(), BackendError> {
        if flow.tokens % self.plan.config.pp as usize != self.plan.stage as usize {
            return Ok(());
        }
        for &harm in &flow.harms {
            if !matches!(harm, Harm::Slow(_)) {
                self.faults.fetch_add(1, Relaxed);
            }
            match harm {
                Harm::Panic => panic!("poisoned: panic"),
                Harm::Lost => return Err(BackendError::StageLost { reason: "poisoned: lost".to_owned() }),
                Harm::Hang(lasts) => std::thread::sleep(lasts),
                Harm::MemoryInCompany if flow.size == 1 => {}
                Harm::Memory | Harm::MemoryInCompany => {
                    return Err(BackendError::OutOfMemory {
                        device: self.plan.devices[0],
                        what: "poison".to_owned(),
                        needed: Bytes::new(2),
                        used: Bytes::new(1),
                        budget: Bytes::new(2),
                    });
                }
                Harm::Refused => return Err(BackendError::BadInput { reason: "poisoned: refused".to_owned() }),
                Harm::Slow(by) => std::thread::sleep(by * flow.tokens as u32),
            }
        }
        Ok(())
    }
}

impl<S: Stage> Stage for FaultyStage<S> {
    type Flow = FaultyFlow<S::Flow>;

    fn run(&mut self, flow: Self::Flow) -> Result<Step<Self::Flow>, BackendError> {
        self.suffer(&flow)?;
        let FaultRates { panic, lost, hang, fail, slow, hang_lasts, slow_by, at_most, .. } = self.rates;
        let mut draw = self.chance.random::<f64>();
        let mut happens = |rate: f64| {
            let hit = (0.0..rate).contains(&draw);
            draw -= rate;
            hit && blame(&self.faults, at_most)
        };
        if happens(panic) {
            panic!("injected: panic");
        }
        if happens(lost) {
            return Err(BackendError::StageLost { reason: "injected: lost".to_owned() });
        }
        if happens(hang) {
            std::thread::sleep(hang_lasts);
        }
        if happens(fail) {
            return Err(BackendError::BadInput { reason: "injected: failed".to_owned() });
        }
        if happens(slow) {
            std::thread::sleep(slow_by);
        }
        let FaultyFlow { inner, harms, size, tokens } = flow;
        Ok(self.inner.run(inner)?.map(|inner| FaultyFlow { inner, harms, size, tokens }))
    }

    fn memory(&self) -> Bytes {
        self.inner.memory()
    }
}

/// Counts a fault, if one more is allowed.
fn blame(faults: &AtomicU64, at_most: u64) -> bool {
    faults.fetch_update(Relaxed, Relaxed, |count| (count < at_most).then_some(count + 1)).is_ok()
}
