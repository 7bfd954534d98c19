//! Sums over several GPUs by NCCL, which adds them on the way from one to the other.

use crate::device::Device;
use candle_core::backend::BackendStorage;
use candle_core::cuda::cudarc::nccl::{Comm, ReduceOp, result::NcclError};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Device as Tensors, Error, Result, Storage, Tensor};
use statmux_core::backend::BackendError;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// What connects the GPUs of a stage: for each rank its end.
pub(crate) struct Ring {
    ends: Vec<Mutex<End>>,
}

struct End(Comm);

// SAFETY: NCCL allows a communicator to be used from any thread, by one at a time; the mutex around it sees to that.
unsafe impl Send for End {}

impl Ring {
    /// Connects `devices` if they are several GPUs; `None` if not. NCCL refuses to be given one GPU twice, so devices
    /// that share one are not connected either.
    pub(crate) fn over(devices: &[Arc<Device>]) -> std::result::Result<Option<Self>, BackendError> {
        let gpu = |device: &Arc<Device>| match &device.tensors {
            Tensors::Cuda(gpu) => Some(gpu.cuda_stream()),
            _ => None,
        };
        let Some(streams) = devices.iter().map(gpu).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let ordinals: BTreeSet<_> = streams.iter().map(|stream| stream.context().ordinal()).collect();
        if streams.len() < 2 || ordinals.len() < streams.len() {
            return Ok(None);
        }
        let ends = Comm::from_devices(streams)
            .map_err(|error| BackendError::BadPlan { reason: format!("GPUs {ordinals:?}: {}", failed(&error)) })?;
        Ok(Some(Self { ends: ends.into_iter().map(|end| Mutex::new(End(end))).collect() }))
    }

    /// The sum of what all ranks call this with, on the GPU of `rank`; all must, in the same order.
    pub(crate) fn sum(&self, rank: usize, part: &Tensor) -> Result<Tensor> {
        let (storage, layout) = part.storage_and_layout();
        let (Storage::Cuda(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
            return Err(Error::Msg("NCCL was given a tensor that is strided or not on a GPU".into()));
        };
        let values = storage.as_cuda_slice::<f32>()?.slice(start..end);
        let gpu: &CudaDevice = storage.device();
        // SAFETY: the sum is written to all of it before anything queued later on the same stream reads it.
        let mut sum = unsafe { gpu.alloc::<f32>(values.len())? };
        let ring_end = self.ends[rank].lock().unwrap_or_else(PoisonError::into_inner);
        ring_end.0.all_reduce(&values, &mut sum, &ReduceOp::Sum).map_err(|error| Error::Msg(failed(&error)))?;
        let sum = CudaStorage::wrap_cuda_slice(sum, gpu.clone());
        Ok(Tensor::from_storage(Storage::Cuda(sum), part.shape(), BackpropOp::none(), false))
    }
}

fn failed(error: &NcclError) -> String {
    format!("NCCL failed: {:?}", error.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceKind, DeviceSpec, gpus};
    use crate::parallel::team::Team;
    use statmux_core::{Bytes, DeviceId};

    fn devices(count: usize, kind: impl Fn(usize) -> DeviceKind) -> Vec<Arc<Device>> {
        let memory = Bytes::from_gib(1);
        let open = |number| Device::open(DeviceId::from_index(number), DeviceSpec { kind: kind(number), memory });
        (0..count).map(|number| Arc::new(open(number).expect("the device exists"))).collect()
    }

    #[test]
    fn processor_cores_are_not_connected() {
        assert!(Ring::over(&devices(2, |_| DeviceKind::Cpu)).expect("nothing is asked of NCCL").is_none());
    }

    /// Wants two GPUs.
    #[test]
    fn all_gpus_get_the_sum() {
        let count = gpus().expect("the driver can be asked");
        let devices = devices(count, DeviceKind::Cuda);
        let ring = Ring::over(&devices).expect("NCCL works").expect("there are at least two GPUs");
        let sums = Team::new(count, Some(&ring)).run(&devices, &mut vec![(); count], |member, ()| {
            let gpu = &devices[member.rank].tensors;
            let part = Tensor::new(&[[member.rank as f32, 1.0]], gpu)?;
            let bias = Tensor::new(&[0.5f32, 0.25], gpu)?;
            Ok(member.sum(part, Some(&bias), None)?.to_vec2::<f32>()?)
        });
        let ranks = (count * (count - 1) / 2) as f32;
        assert_eq!(sums.expect("nobody fails"), vec![vec![vec![ranks + 0.5, count as f32 + 0.25]]; count]);
    }
}
