//! `activation(x W + b)`, and the sum of such products over shards.

use super::activation::Activation;
use super::matmul::{Matrix, multiply};
use super::vector::{dot, widest};
use super::{CpuSlice, composed_on};
use candle_core::{Device, Result, Tensor};

/// The weight of a linear layer, in the order in which its device reads it fastest.
pub(crate) struct Weight {
    values: Tensor,
    order: Order,
}

/// How a weight of `inputs` by `outputs` lies in memory: in panels of a few columns, each row by row.
///
/// A panel is read from front to back by a matrix product, so it need not be copied together first. Devices other
/// than the processor have one panel of all columns, which is the usual matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    inputs: usize,
    outputs: usize,
    panel: usize,
}

/// Columns of a panel: as many as the innermost kernel of the matrix product computes at once with the widest vectors
/// of this processor.
///
/// With twice as many, half of every cache line that it reads would be for later, and rows so far apart would fall on
/// the same few sets of the first-level cache.
fn panel_width() -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        return WIDE_PANEL;
    }
    NARROW_PANEL
}

/// Four vectors of AVX-512.
const WIDE_PANEL: usize = 64;
/// Two vectors of AVX2, four of NEON.
const NARROW_PANEL: usize = 16;

impl Order {
    pub(crate) fn on(device: &Device, inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, panel: if composed_on(device) { outputs } else { panel_width() } }
    }

    /// Where a panel begins, and how far apart the rows of a column in it are.
    pub(crate) fn column(self, column: usize) -> (usize, usize) {
        let start = column - column % self.panel;
        let width = self.panel.min(self.outputs - start);
        (start * self.inputs + column - start, width)
    }

    /// For each panel, its first column and its width.
    fn panels(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.outputs).step_by(self.panel).map(move |start| (start, self.panel.min(self.outputs - start)))
    }
}

impl Weight {
    /// A weight whose `values` lie in `order`.
    pub(crate) fn new(values: Vec<f32>, order: Order, device: &Device) -> Result<Self> {
        Ok(Self { values: Tensor::from_vec(values, (order.inputs, order.outputs), device)?, order })
    }
}

/// With so few rows a product is bound by reading the weights, and a plain walk through them is fastest.
const FEW_ROWS: usize = 4;

/// `activation(x * weight + bias)` for `x` of shape (tokens, inputs).
pub(crate) fn linear(x: &Tensor, weight: &Weight, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    if composed_on(x.device()) {
        return composed_linear(x, &weight.values, bias, activation);
    }
    let (rows, inner) = x.dims2()?;
    let Order { inputs, outputs, .. } = weight.order;
    assert_eq!(inner, inputs, "a linear layer was given vectors of the wrong length");
    let (x_values, weight_values) = (CpuSlice::of(x)?, CpuSlice::of(&weight.values)?);
    let mut out = vec![0.0; rows * outputs];
    if rows <= FEW_ROWS {
        widest(|| match weight.order.panel {
            NARROW_PANEL => few_rows_times::<NARROW_PANEL, 4>(&x_values, &weight_values, &mut out, weight.order),
            _ => few_rows_times::<WIDE_PANEL, 1>(&x_values, &weight_values, &mut out, weight.order),
        });
    } else {
        for (start, width) in weight.order.panels() {
            let panel = &weight_values[start * inputs..][..inputs * width];
            let a = Matrix::new(&x_values, rows, inputs, inputs);
            multiply(&mut out[start..], outputs, a, Matrix::new(panel, inputs, width, width), 1.0);
        }
    }
    let bias = bias.map(CpuSlice::of).transpose()?;
    widest(|| match &bias {
        Some(bias) => out.chunks_exact_mut(outputs).for_each(|row| activation.apply_with_bias(row, bias)),
        None => activation.apply(&mut out),
    });
    Tensor::from_vec(out, (rows, outputs), x.device())
}

/// The same by candle's operations, from a weight in the usual order.
fn composed_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    let product = x.matmul(weight)?;
    let sum = match bias {
        Some(bias) => product.broadcast_add(bias)?,
        None => product,
    };
    activation.apply_tensor(&sum)
}

/// `out = x * weights`, where `weights` are panels of `WIDTH` columns, `COUNT` of them at a time: all rows use them
/// before the next are read.
#[inline(always)]
fn few_rows_times<const WIDTH: usize, const COUNT: usize>(x: &[f32], weights: &[f32], out: &mut [f32], order: Order) {
    let Order { inputs, outputs, .. } = order;
    for start in (0..outputs).step_by(WIDTH * COUNT) {
        let end = outputs.min(start + WIDTH * COUNT);
        let panels = &weights[start * inputs..end * inputs];
        for (x, out) in x.chunks_exact(inputs).zip(out.chunks_exact_mut(outputs)) {
            row_times_panels::<WIDTH, COUNT>(x, panels, &mut out[start..end]);
        }
    }
}

/// `out = x * panels`, up to `COUNT` panels of `WIDTH` columns, of which the last may be narrower.
#[inline(always)]
fn row_times_panels<const WIDTH: usize, const COUNT: usize>(x: &[f32], panels: &[f32], out: &mut [f32]) {
    if out.len() == WIDTH * COUNT {
        let panels: [&[[f32; WIDTH]]; COUNT] =
            std::array::from_fn(|panel| panels[panel * x.len() * WIDTH..][..x.len() * WIDTH].as_chunks().0);
        // A fixed number of sums stays in registers.
        let mut sums = [[0.0f32; WIDTH]; COUNT];
        for (row, &x) in x.iter().enumerate() {
            for (sums, panel) in sums.iter_mut().zip(&panels) {
                add_product(sums, x, &panel[row]);
            }
        }
        out.copy_from_slice(sums.as_flattened());
    } else {
        for (out, panel) in out.chunks_mut(WIDTH).zip(panels.chunks(WIDTH * x.len())) {
            for (&x, row) in x.iter().zip(panel.chunks_exact(out.len())) {
                add_product(out, x, row);
            }
        }
    }
}

#[inline(always)]
fn add_product(sums: &mut [f32], x: f32, weights: &[f32]) {
    for (sum, &weight) in sums.iter_mut().zip(weights) {
        *sum += x * weight;
    }
}

/// `x * table^T`: the inner products of each row of `x` with each row of `table`.
pub(crate) fn project(x: &Tensor, table: &Tensor) -> Result<Tensor> {
    if composed_on(x.device()) {
        return x.matmul(&table.t()?);
    }
    let (rows, inner) = x.dims2()?;
    let (columns, _) = table.dims2()?;
    let (x_values, table_values) = (CpuSlice::of(x)?, CpuSlice::of(table)?);
    let mut out = vec![0.0; rows * columns];
    if rows <= FEW_ROWS {
        widest(|| {
            for (column, word) in table_values.chunks_exact(inner).enumerate() {
                for (row, x) in x_values.chunks_exact(inner).enumerate() {
                    out[row * columns + column] = dot(x, word);
                }
            }
        });
    } else {
        let a = Matrix::new(&x_values, rows, inner, inner);
        let b = Matrix::new(&table_values, columns, inner, inner).transposed();
        multiply(&mut out, columns, a, b, 1.0);
    }
    Tensor::from_vec(out, (rows, columns), x.device())
}

/// `parts[0] + parts[1] + … + bias + residual`, always in that order, so that all shards get the same bits.
pub(crate) fn sum_parts(parts: &[Tensor], bias: Option<&Tensor>, residual: Option<&Tensor>) -> Result<Tensor> {
    let (first, others) = parts.split_first().expect("a sum has at least one part");
    if composed_on(first.device()) {
        return composed_sum(first, others, bias, residual);
    }
    let (rows, columns) = first.dims2()?;
    let mut out = CpuSlice::of(first)?.to_vec();
    let others = others.iter().map(CpuSlice::of).collect::<Result<Vec<_>>>()?;
    let bias = bias.map(CpuSlice::of).transpose()?;
    let residual = residual.map(CpuSlice::of).transpose()?;
    widest(|| {
        for (row, out) in out.chunks_exact_mut(columns.max(1)).enumerate() {
            let span = row * columns..(row + 1) * columns;
            for other in &others {
                add(out, &other[span.clone()]);
            }
            if let Some(bias) = &bias {
                add(out, bias);
            }
            if let Some(residual) = &residual {
                add(out, &residual[span]);
            }
        }
    });
    Tensor::from_vec(out, (rows, columns), first.device())
}

/// The same by candle's operations, for other devices than the processor.
fn composed_sum(first: &Tensor, others: &[Tensor], bias: Option<&Tensor>, residual: Option<&Tensor>) -> Result<Tensor> {
    let mut sum = first.clone();
    for other in others {
        sum = (sum + other)?;
    }
    if let Some(bias) = bias {
        sum = sum.broadcast_add(bias)?;
    }
    match residual {
        Some(residual) => sum + residual,
        None => Ok(sum),
    }
}

#[inline(always)]
fn add(out: &mut [f32], values: &[f32]) {
    for (out, &value) in out.iter_mut().zip(values) {
        *out += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{close, noise};

    /// The weight as a matrix, and the same in panels.
    fn weight(inputs: usize, outputs: usize, panel: usize) -> (Tensor, Weight) {
        let matrix = noise(inputs, outputs, 1);
        let order = Order { inputs, outputs, panel };
        let mut values = vec![f32::NAN; inputs * outputs];
        for (row, source) in matrix.to_vec2::<f32>().expect("two dimensions").iter().enumerate() {
            for (column, &value) in source.iter().enumerate() {
                let (first, stride) = order.column(column);
                values[first + row * stride] = value;
            }
        }
        (matrix, Weight::new(values, order, &Device::Cpu).expect("the shape fits"))
    }

    #[test]
    fn linear_layers_agree_with_candle() {
        for (rows, inputs, outputs) in [(1, 1, 1), (1, 70, 64), (2, 9, 230), (3, 33, 200), (5, 64, 64), (40, 100, 130)]
        {
            for panel in [NARROW_PANEL, WIDE_PANEL] {
                let (matrix, weight) = weight(inputs, outputs, panel);
                let x = noise(rows, inputs, 2);
                let bias = noise(1, outputs, 3).squeeze(0).expect("one row");
                for activation in [Activation::Identity, Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
                    for bias in [None, Some(&bias)] {
                        let ours = linear(&x, &weight, bias, activation).expect("shapes fit");
                        close(&ours, &composed_linear(&x, &matrix, bias, activation).expect("shapes fit"));
                    }
                }
            }
        }
    }

    #[test]
    fn projections_and_sums_agree_with_candle() {
        for rows in [1, 4, 9] {
            let (x, table) = (noise(rows, 50, 1), noise(77, 50, 2));
            close(&project(&x, &table).expect("fits"), &x.matmul(&table.t().expect("fits")).expect("fits"));
        }
        let parts = [noise(5, 30, 1), noise(5, 30, 2), noise(5, 30, 3)];
        let (bias, residual) = (noise(1, 30, 4).squeeze(0).expect("one row"), noise(5, 30, 5));
        let ours = sum_parts(&parts, Some(&bias), Some(&residual)).expect("fits");
        close(&ours, &composed_sum(&parts[0], &parts[1..], Some(&bias), Some(&residual)).expect("fits"));
    }
}
