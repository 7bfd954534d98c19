//! Where the shards of a stage meet.
//!
//! Each member puts its partial result down, waits for the others, and takes all of them up in rank order; every
//! member then adds them in the same order and has the same bits. Two rows of slots take turns, so one meeting of all
//! is enough: nobody can be more than one round ahead.
//!
//! GPUs that NCCL connects add on the way from one to the other instead; their members meet only to know that all of
//! them will.

use super::Ring;
use crate::kernels::linear::sum_parts;
use candle_core::Tensor;
use statmux_core::backend::BackendError;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::device::{Device, lost};
use std::sync::Arc;

/// The meeting point of one run of one stage. A new run takes a new one, so faults leave nothing behind.
pub(crate) struct Team<'a> {
    size: usize,
    ring: Option<&'a Ring>,
    slots: [Vec<Mutex<Option<Tensor>>>; 2],
    arrived: AtomicUsize,
    meetings: AtomicUsize,
    broken: AtomicBool,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// One shard's seat at the meeting point.
pub(crate) struct Member<'a> {
    team: &'a Team<'a>,
    pub(crate) rank: usize,
    round: Cell<usize>,
}

/// Why a shard did not finish.
#[derive(Debug)]
pub(crate) enum ShardError {
    /// It failed itself.
    Failed(BackendError),
    /// Another did, and this one stopped waiting.
    Abandoned,
}

impl From<candle_core::Error> for ShardError {
    fn from(error: candle_core::Error) -> Self {
        Self::Failed(lost(error))
    }
}

impl From<BackendError> for ShardError {
    fn from(error: BackendError) -> Self {
        Self::Failed(error)
    }
}

/// How long to spin before sleeping: shards that run in step arrive within microseconds of each other.
const SPINS: u32 = 4000;

impl<'a> Team<'a> {
    /// A team of `size` members, whose devices `ring` connects if there is one.
    pub(crate) fn new(size: usize, ring: Option<&'a Ring>) -> Self {
        let slots = || (0..size).map(|_| Mutex::new(None)).collect();
        Self {
            size,
            ring,
            slots: [slots(), slots()],
            arrived: AtomicUsize::new(0),
            meetings: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Runs `work` for every rank on that rank's device, with that rank's `state`, and waits for all.
    ///
    /// If one fails or panics, the others stop at their next meeting, and its error is the result.
    pub(crate) fn run<S: Send, T: Send>(
        &self,
        devices: &[Arc<Device>],
        state: &mut [S],
        work: impl Fn(&Member<'_>, &mut S) -> Result<T, ShardError> + Sync,
    ) -> Result<Vec<T>, BackendError> {
        assert!(devices.len() == self.size && state.len() == self.size, "a team has a device and a state per rank");
        let mut results: Vec<Option<Result<T, ShardError>>> = (0..self.size).map(|_| None).collect();
        let seats = state.iter_mut().zip(&mut results).enumerate().collect();
        self.spawn(devices, seats, &work);
        let mut values = Vec::with_capacity(self.size);
        let mut abandoned = false;
        for result in results {
            match result.expect("every rank ran") {
                Ok(value) => values.push(value),
                Err(ShardError::Failed(error)) => return Err(error),
                Err(ShardError::Abandoned) => abandoned = true,
            }
        }
        assert!(!abandoned, "a shard is abandoned only when another fails");
        Ok(values)
    }

    /// Starts the first seat on the first device, then the rest, then waits for both.
    fn spawn<S: Send, T: Send>(
        &self,
        devices: &[Arc<Device>],
        mut seats: Vec<Seat<'_, S, T>>,
        work: &(impl Fn(&Member<'_>, &mut S) -> Result<T, ShardError> + Sync),
    ) {
        let Some((device, devices)) = devices.split_first() else { return };
        let (rank, (state, result)) = seats.remove(0);
        device.thread().in_place_scope(|scope| {
            scope.spawn(move |_| {
                let member = Member { team: self, rank, round: Cell::new(0) };
                let outcome = catch_unwind(AssertUnwindSafe(|| work(&member, state)));
                let outcome = outcome.unwrap_or_else(|panic| {
                    Err(ShardError::Failed(BackendError::StageLost { reason: panic_message(&*panic) }))
                });
                if outcome.is_err() {
                    self.give_up();
                }
                *result = Some(outcome);
            });
            self.spawn(devices, seats, work);
        });
    }

    /// Waits until all members are here, or one has failed.
    fn meet(&self) -> Result<(), ShardError> {
        let meeting = self.meetings.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.size {
            self.arrived.store(0, Ordering::Release);
            let _awake = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.meetings.fetch_add(1, Ordering::Release);
            self.wake.notify_all();
            return Ok(());
        }
        let waiting = || self.meetings.load(Ordering::Acquire) == meeting && !self.broken.load(Ordering::Acquire);
        for _ in 0..SPINS {
            if !waiting() {
                break;
            }
            std::hint::spin_loop();
        }
        let mut asleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting() {
            asleep = self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
        if self.meetings.load(Ordering::Acquire) == meeting { Err(ShardError::Abandoned) } else { Ok(()) }
    }

    fn give_up(&self) {
        let _awake = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.broken.store(true, Ordering::Release);
        self.wake.notify_all();
    }
}

/// A rank, its state, and where its result goes.
type Seat<'a, S, T> = (usize, (&'a mut S, &'a mut Option<Result<T, ShardError>>));

impl Member<'_> {
    /// The sum of all members' parts, plus `bias` and `residual`: on every member the same bits.
    pub(crate) fn sum(
        &self,
        part: Tensor,
        bias: Option<&Tensor>,
        residual: Option<&Tensor>,
    ) -> Result<Tensor, ShardError> {
        if let Some(ring) = self.team.ring {
            // NCCL would wait for ever for a shard that has failed.
            self.team.meet()?;
            return Ok(sum_parts(&[ring.sum(self.rank, &part)?], bias, residual)?);
        }
        let device = part.device().clone();
        let parts = self.exchange(part)?;
        let here = parts.iter().map(|part| part.to_device(&device)).collect::<candle_core::Result<Vec<_>>>()?;
        Ok(sum_parts(&here, bias, residual)?)
    }

    /// Gives `part` to all members and takes theirs: one tensor per rank, in rank order, each on its rank's device.
    pub(crate) fn exchange(&self, part: Tensor) -> Result<Vec<Tensor>, ShardError> {
        if self.team.size == 1 {
            return Ok(vec![part]);
        }
        let round = self.round.get();
        self.round.set(round + 1);
        let slots = &self.team.slots[round % 2];
        *slots[self.rank].lock().unwrap_or_else(PoisonError::into_inner) = Some(part);
        self.team.meet()?;
        let take = |slot: &Mutex<Option<Tensor>>| slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(slots.iter().map(|slot| take(slot).expect("all members have put theirs down")).collect())
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a shard panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceKind, DeviceSpec};
    use candle_core::Device as Tensors;
    use statmux_core::backend::Fault;
    use statmux_core::{Bytes, DeviceId};

    fn devices(count: u32) -> Vec<Arc<Device>> {
        let spec = DeviceSpec { kind: DeviceKind::Cpu, memory: Bytes::from_gib(1) };
        (0..count).map(|id| Arc::new(Device::open(DeviceId(id), spec).expect("a thread can be started"))).collect()
    }

    #[test]
    fn everybody_gets_everything_in_rank_order_round_after_round() {
        let devices = devices(4);
        let sums = Team::new(4, None).run(&devices, &mut [0.0f32; 4], |member, state| {
            for round in 0..200 {
                let value = Tensor::new((member.rank * 1000 + round) as f32, &Tensors::Cpu)?;
                let parts = member.exchange(value)?;
                for (rank, part) in parts.iter().enumerate() {
                    assert_eq!(part.to_scalar::<f32>()?, (rank * 1000 + round) as f32);
                }
                *state += 1.0;
            }
            Ok(*state)
        });
        assert_eq!(sums.expect("nobody fails"), [200.0; 4]);
    }

    #[test]
    fn sums_have_the_same_bits_on_every_member() {
        let row = |values: [f32; 2]| Tensor::new(&[values], &Tensors::Cpu);
        // In single precision the order matters: a million swallows what is added to it.
        let parts = [[1e6, 1.0], [0.01, 2.0], [0.01, 3.0]];
        let sums = Team::new(3, None).run(&devices(3), &mut [(); 3], |member, ()| {
            let bias = Tensor::new(&[0.0f32, 10.0], &Tensors::Cpu)?;
            let sum = member.sum(row(parts[member.rank])?, Some(&bias), Some(&row([-1e6, 0.5])?))?;
            Ok(sum.to_vec2::<f32>()?)
        });
        assert_eq!(sums.expect("nobody fails"), vec![vec![vec![0.0, 16.5]]; 3]);
    }

    #[test]
    fn one_failure_ends_the_run_with_its_own_error() {
        let devices = devices(3);
        for panics in [true, false] {
            let result = Team::new(3, None).run(&devices, &mut [(); 3], |member, ()| {
                if member.rank == 1 {
                    assert!(!panics, "rank one panics");
                    return Err(BackendError::BadInput { reason: "rank one fails".into() }.into());
                }
                member.exchange(Tensor::new(0f32, &Tensors::Cpu)?)?;
                Ok(())
            });
            let error = result.expect_err("rank one fails");
            assert_eq!(error.fault(), if panics { Fault::Stage } else { Fault::Request });
            assert!(error.to_string().contains("rank one"), "{error}");
        }
    }
}
