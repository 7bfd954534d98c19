//! Normalisation of each token's vector.

use super::vector::{sum_of, widest};
use super::{CpuSlice, composed_on};
use candle_core::{D, Result, Tensor};

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, row by row.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    if composed_on(x.device()) {
        return composed_layer_norm(x, weight, bias, epsilon);
    }
    let (rows, columns) = x.dims2()?;
    let (values, weight, bias) = (CpuSlice::of(x)?, CpuSlice::of(weight)?, CpuSlice::of(bias)?);
    let mut out = vec![0.0; rows * columns];
    let epsilon = epsilon as f32;
    widest(|| {
        for (out, row) in out.chunks_exact_mut(columns).zip(values.chunks_exact(columns)) {
            let mean = sum_of(row, |x| x) / columns as f32;
            let variance = sum_of(row, |x| (x - mean) * (x - mean)) / columns as f32;
            let scale = 1.0 / (variance + epsilon).sqrt();
            for (((out, &x), &weight), &bias) in out.iter_mut().zip(row).zip(&*weight).zip(&*bias) {
                *out = (x - mean) * scale * weight + bias;
            }
        }
    });
    Tensor::from_vec(out, (rows, columns), x.device())
}

/// `x / sqrt(mean(x^2) + epsilon) * weight`, row by row.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    if composed_on(x.device()) {
        return composed_rms_norm(x, weight, epsilon);
    }
    let (rows, columns) = x.dims2()?;
    let (values, weight) = (CpuSlice::of(x)?, CpuSlice::of(weight)?);
    let mut out = vec![0.0; rows * columns];
    let epsilon = epsilon as f32;
    widest(|| {
        for (out, row) in out.chunks_exact_mut(columns).zip(values.chunks_exact(columns)) {
            let scale = 1.0 / (sum_of(row, |x| x * x) / columns as f32 + epsilon).sqrt();
            for ((out, &x), &weight) in out.iter_mut().zip(row).zip(&*weight) {
                *out = x * scale * weight;
            }
        }
    });
    Tensor::from_vec(out, (rows, columns), x.device())
}

/// Layer normalisation by candle's operations, for other devices than the processor.
fn composed_layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    normal.broadcast_mul(weight)?.broadcast_add(bias)
}

/// Normalisation to a mean square of one by candle's operations.
fn composed_rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    x.broadcast_div(&scale)?.broadcast_mul(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{close, noise};

    #[test]
    fn norms_agree_with_candle() {
        for columns in [4, 37] {
            let (x, table) = (noise(6, columns, 1), noise(2, columns, 2));
            let (weight, bias) = (table.get(0).expect("two rows"), table.get(1).expect("two rows"));
            let ours = layer_norm(&x, &weight, &bias, 1e-5).expect("fits");
            close(&ours, &composed_layer_norm(&x, &weight, &bias, 1e-5).expect("fits"));
            let ours = rms_norm(&x, &weight, 1e-5).expect("fits");
            close(&ours, &composed_rms_norm(&x, &weight, 1e-5).expect("fits"));
        }
    }
}
