//! Reads the blocks of tensors that one device needs.

use super::{Source, WeightsError};
use crate::device::{Device, Reservation, lost};
use crate::kernels::linear::{Order, Weight};
use candle_core::Tensor;
use statmux_core::ModelId;
use statmux_core::backend::BackendError;
use std::cell::RefCell;
use std::ops::Range;

/// Loads one model's part for one device; what it loaded is accounted to the device until the loader's
/// reservations are dropped.
pub(crate) struct Loader<'a> {
    source: &'a dyn Source,
    device: &'a Device,
    model: ModelId,
    reservations: RefCell<Vec<Reservation>>,
}

/// A block of a linear layer's weight.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) stored: Stored,
    /// The whole weight's inputs, and those wanted.
    pub(crate) inputs: (usize, Range<usize>),
    /// The whole weight's outputs, and those wanted.
    pub(crate) outputs: (usize, Range<usize>),
}

/// How a file orders a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A row for each output: `torch.nn.Linear`.
    OutIn,
    /// A row for each input: GPT-2's `Conv1D`.
    InOut,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(source: &'a dyn Source, device: &'a Device, model: ModelId) -> Self {
        Self { source, device, model, reservations: RefCell::default() }
    }

    /// Whether the model has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.source.has(name)
    }

    /// What holds the memory of everything loaded.
    pub(crate) fn into_reservations(self) -> Vec<Reservation> {
        self.reservations.into_inner()
    }

    /// A weight: the blocks side by side, which must have as many inputs each.
    pub(crate) fn weight(&self, blocks: &[Block]) -> Result<Weight, BackendError> {
        let inputs = blocks[0].inputs.1.len();
        let width: usize = blocks.iter().map(|block| block.outputs.1.len()).sum();
        let mut values = self.allocate(inputs * width, &blocks[0].name)?;
        let order = Order::on(&self.device.tensors, inputs, width);
        let mut offset = 0;
        for block in blocks {
            assert_eq!(block.inputs.1.len(), inputs, "blocks side by side have the same inputs");
            self.read_block(block, &mut values, order, offset)?;
            offset += block.outputs.1.len();
        }
        Weight::new(values, order, &self.device.tensors).map_err(lost)
    }

    /// Rows `own` of a table of `rows` by `columns`, as stored.
    pub(crate) fn table(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
        own: Range<usize>,
    ) -> Result<Tensor, BackendError> {
        let mut values = self.allocate(own.len() * columns, name)?;
        let length = own.len();
        let start = own.start;
        self.read(name, &[rows, columns], own, &mut |first, block| {
            let at = (first - start) * columns;
            values[at..at + block.len()].copy_from_slice(block);
        })?;
        self.tensor(values, &[length, columns])
    }

    /// Parts of vectors (name, whole length, part), one after another.
    pub(crate) fn vectors(&self, parts: &[(String, usize, Range<usize>)]) -> Result<Tensor, BackendError> {
        let length = parts.iter().map(|(.., part)| part.len()).sum();
        let mut values = self.allocate(length, &parts[0].0)?;
        let mut offset = 0;
        for (name, whole, part) in parts {
            let start = part.start;
            self.read(name, &[*whole], part.clone(), &mut |first, block| {
                let at = offset + first - start;
                values[at..at + block.len()].copy_from_slice(block);
            })?;
            offset += part.len();
        }
        self.tensor(values, &[length])
    }

    /// A whole vector.
    pub(crate) fn vector(&self, name: &str, length: usize) -> Result<Tensor, BackendError> {
        self.vectors(&[(name.to_owned(), length, 0..length)])
    }

    /// Copies a block to the columns of a weight from `offset` on.
    fn read_block(&self, block: &Block, values: &mut [f32], order: Order, offset: usize) -> Result<(), BackendError> {
        let (all_inputs, inputs) = (block.inputs.0, block.inputs.1.clone());
        let (all_outputs, outputs) = (block.outputs.0, block.outputs.1.clone());
        match block.stored {
            Stored::OutIn => {
                let start = outputs.start;
                self.read(&block.name, &[all_outputs, all_inputs], outputs, &mut |first, rows| {
                    for (column, source) in (offset + first - start..).zip(rows.chunks_exact(all_inputs)) {
                        let (at, stride) = order.column(column);
                        for (row, &value) in source[inputs.clone()].iter().enumerate() {
                            values[at + row * stride] = value;
                        }
                    }
                })
            }
            Stored::InOut => {
                let start = inputs.start;
                self.read(&block.name, &[all_inputs, all_outputs], inputs, &mut |first, rows| {
                    for (row, source) in (first - start..).zip(rows.chunks_exact(all_outputs)) {
                        for (column, &value) in (offset..).zip(&source[outputs.clone()]) {
                            let (at, stride) = order.column(column);
                            values[at + row * stride] = value;
                        }
                    }
                })
            }
        }
    }

    fn read(
        &self,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), BackendError> {
        let loaded = self.source.read(name, shape, rows, sink);
        loaded.map_err(|cause: WeightsError| BackendError::Load { model: self.model, cause: Box::new(cause) })
    }

    /// Sets memory aside before it is used.
    fn allocate(&self, values: usize, name: &str) -> Result<Vec<f32>, BackendError> {
        let what = format!("tensor {name} of model {}", self.model);
        let reservation = self.device.memory.reserve(values as u64 * 4, &what)?;
        self.reservations.borrow_mut().push(reservation);
        Ok(vec![0.0; values])
    }

    fn tensor(&self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor, BackendError> {
        Tensor::from_vec(values, shape, &self.device.tensors).map_err(lost)
    }
}
