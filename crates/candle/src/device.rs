//! Devices: one compute thread each, and a memory budget that is kept.
//!
//! A virtual CPU device is a pool of exactly one thread, pinned to a core where the system allows, so that
//! devices neither share nor steal processor time. A GPU has such a thread too: it launches the kernels.
//!
//! Memory is accounted by [`Reservation`]s, made before anything is allocated and given back on drop.

use crate::kernels;
use candle_core::Device as Tensors;
use rayon::{ThreadPool, ThreadPoolBuilder};
use statmux_core::DeviceId;
use statmux_core::backend::BackendError;
use statmux_core::units::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Keeps libraries below from starting threads of their own.
///
/// Call it first in `main`, before any other thread exists. Our own kernels need no such help: the variables are
/// for what candle does itself.
pub fn use_one_thread_per_device() {
    for variable in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: the documentation above asks for a process with one thread; the standard library's own readers
        // of the environment are locked out in any case.
        unsafe { std::env::set_var(variable, "1") };
    }
}

/// What a device computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// One thread of the processor.
    Cpu,
    /// The GPU with this ordinal.
    #[cfg(feature = "cuda")]
    Cuda(usize),
    /// One thread of the processor that computes as a GPU would, by candle's operations.
    #[cfg(test)]
    Composed,
}

/// One device to open: what it is and how much it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// What it computes on.
    pub kind: DeviceKind,
    /// The memory that weights, caches and activations may use.
    pub memory: Bytes,
}

/// How many GPUs the driver shows to this process.
#[cfg(feature = "cuda")]
pub fn gpus() -> Result<usize, BackendError> {
    let count = candle_core::cuda::cudarc::driver::CudaContext::device_count()
        .map_err(|error| BackendError::BadPlan { reason: format!("the driver shows no GPUs: {error}") })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// An opened device.
pub(crate) struct Device {
    pub(crate) tensors: Tensors,
    pub(crate) memory: Arc<Memory>,
    thread: ThreadPool,
}

/// How much of a device's budget is in use.
#[derive(Debug)]
pub(crate) struct Memory {
    device: DeviceId,
    budget: u64,
    used: AtomicU64,
}

/// A part of a device's budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Device {
    /// Opens the device, pinned to the core of the same number (modulo the number of cores).
    pub(crate) fn open(id: DeviceId, spec: DeviceSpec) -> Result<Self, BackendError> {
        let tensors = match spec.kind {
            DeviceKind::Cpu => Tensors::Cpu,
            #[cfg(test)]
            DeviceKind::Composed => Tensors::Cpu,
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda(ordinal) => Tensors::new_cuda_with_stream(ordinal)
                .map_err(|error| BackendError::BadPlan { reason: format!("device {}: {error}", id.0) })?,
        };
        kernels::matmul::read_weights_in_place();
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let core = (!cores.is_empty()).then(|| cores[id.index() % cores.len()]);
        let thread = ThreadPoolBuilder::new()
            .num_threads(1)
            .thread_name(move |_| format!("device-{}", id.0))
            .start_handler(move |_| {
                // A container may forbid it; the device is then merely not pinned.
                let _pinned = core.is_some_and(core_affinity::set_for_current);
                #[cfg(test)]
                kernels::tests::COMPOSED.set(spec.kind == DeviceKind::Composed);
            })
            .build()
            .map_err(|error| BackendError::BadPlan { reason: format!("device {}: {error}", id.0) })?;
        Ok(Self { tensors, memory: Arc::new(Memory::new(id, spec.memory)), thread })
    }

    /// The pool whose single thread does all of this device's work.
    pub(crate) fn thread(&self) -> &ThreadPool {
        &self.thread
    }
}

impl Memory {
    pub(crate) fn new(device: DeviceId, budget: Bytes) -> Self {
        Self { device, budget: budget.get(), used: AtomicU64::new(0) }
    }

    /// Sets `bytes` aside for `what`.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64, what: &str) -> Result<Reservation, BackendError> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&total| total <= self.budget)
            })
            .map(|_| Reservation { memory: Arc::clone(self), bytes })
            .map_err(|used| BackendError::OutOfMemory {
                device: self.device,
                what: what.to_owned(),
                needed: Bytes::new(bytes),
                used: Bytes::new(used),
                budget: Bytes::new(self.budget),
            })
    }

    pub(crate) fn used(&self) -> Bytes {
        Bytes::new(self.used.load(Ordering::Relaxed))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A candle error in the middle of a computation: nothing the request could have caused.
pub(crate) fn lost(error: candle_core::Error) -> BackendError {
    BackendError::StageLost { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::backend::Fault;

    #[test]
    fn a_budget_is_kept_and_given_back() {
        let memory = Arc::new(Memory::new(DeviceId(0), Bytes::new(100)));
        let first = memory.reserve(60, "a").expect("fits");
        let error = memory.reserve(41, "b").expect_err("does not fit");
        assert_eq!(error.fault(), Fault::Capacity);
        assert_eq!(memory.used(), Bytes::new(60));
        drop(first);
        assert!(memory.reserve(100, "b").is_ok());
        assert_eq!(memory.used(), Bytes::ZERO);
    }

    #[test]
    fn a_device_has_one_thread() {
        let device = Device::open(DeviceId(1), DeviceSpec { kind: DeviceKind::Cpu, memory: Bytes::from_gib(1) });
        let device = device.expect("a thread can be started");
        assert_eq!(device.thread().install(rayon::current_num_threads), 1);
    }

    #[test]
    fn only_processors_have_kernels_of_our_own() {
        for (kind, composed) in [(DeviceKind::Cpu, false), (DeviceKind::Composed, true)] {
            let device = Device::open(DeviceId(0), DeviceSpec { kind, memory: Bytes::from_gib(1) });
            let device = device.expect("a thread can be started");
            assert_eq!(device.thread().install(|| kernels::composed_on(&device.tensors)), composed);
        }
    }
}
