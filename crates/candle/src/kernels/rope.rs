//! Rotary position embeddings.

use super::{CpuSlice, composed_on};
use candle_core::{Result, Tensor};

/// Rotates the first `heads * dim` columns of each row of `x` by angles that grow with the row's position.
///
/// Each head's left half pairs with its right half, as in Llama's published weights for Hugging Face. The columns
/// after those are copied. `frequencies` has `dim / 2` values, in radians per position.
pub(crate) fn rotate(x: &Tensor, heads: usize, dim: usize, positions: &[u32], frequencies: &[f64]) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    let half = dim / 2;
    let (cosines, sines) = angles(positions, frequencies);
    if composed_on(x.device()) {
        return composed(x, heads, dim, cosines, sines);
    }
    let mut out = CpuSlice::of(x)?.to_vec();
    for (row, values) in out.chunks_exact_mut(columns).enumerate() {
        let cosines = &cosines[row * half..(row + 1) * half];
        let sines = &sines[row * half..(row + 1) * half];
        for head in values[..heads * dim].chunks_exact_mut(dim) {
            let (left, right) = head.split_at_mut(half);
            for ((left, right), (&cosine, &sine)) in left.iter_mut().zip(right).zip(cosines.iter().zip(sines)) {
                (*left, *right) = (*left * cosine - *right * sine, *right * cosine + *left * sine);
            }
        }
    }
    Tensor::from_vec(out, (rows, columns), x.device())
}

/// Cosines and sines of `position * frequency`, computed in double precision.
fn angles(positions: &[u32], frequencies: &[f64]) -> (Vec<f32>, Vec<f32>) {
    positions
        .iter()
        .flat_map(|&position| frequencies.iter().map(move |frequency| f64::from(position) * frequency))
        .map(|angle| (angle.cos() as f32, angle.sin() as f32))
        .unzip()
}

/// The same by candle's operations, for other devices than the processor.
fn composed(x: &Tensor, heads: usize, dim: usize, cosines: Vec<f32>, sines: Vec<f32>) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    let half = dim / 2;
    let turned = x.narrow(1, 0, heads * dim)?.reshape((rows, heads, dim))?;
    let (left, right) = (turned.narrow(2, 0, half)?, turned.narrow(2, half, half)?);
    let cosines = Tensor::from_vec(cosines, (rows, 1, half), x.device())?;
    let sines = Tensor::from_vec(sines, (rows, 1, half), x.device())?;
    let new_left = (left.broadcast_mul(&cosines)? - right.broadcast_mul(&sines)?)?;
    let new_right = (right.broadcast_mul(&cosines)? + left.broadcast_mul(&sines)?)?;
    let turned = Tensor::cat(&[new_left, new_right], 2)?.reshape((rows, heads * dim))?;
    let rest = columns - heads * dim;
    if rest == 0 { Ok(turned) } else { Tensor::cat(&[&turned, &x.narrow(1, heads * dim, rest)?], 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{close, noise};

    #[test]
    fn rotations_agree_with_candle_and_keep_lengths() {
        let x = noise(3, 20, 1);
        let (positions, frequencies) = ([0, 5, 1000], [1.0, 0.01]);
        for heads in [3, 5] {
            let ours = rotate(&x, heads, 4, &positions, &frequencies).expect("fits");
            let (cosines, sines) = angles(&positions, &frequencies);
            close(&ours, &composed(&x, heads, 4, cosines, sines).expect("fits"));
            let length = |x: &Tensor| x.sqr()?.sum_all()?.to_scalar::<f32>();
            let (before, after) = (length(&x).expect("fits"), length(&ours).expect("fits"));
            assert!((before - after).abs() < 1e-4);
        }
    }
}
