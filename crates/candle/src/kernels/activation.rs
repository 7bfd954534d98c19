//! What stands between two linear layers.

use super::composed_on;
use super::vector::{erf, exp, tanh};
use candle_core::{Result, Tensor};

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// None at all.
    Identity,
    /// `x Phi(x)`, as BERT has it.
    Gelu,
    /// Its approximation by a hyperbolic tangent, as GPT-2 has it.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + e^-x)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// The function that `config.json` calls `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Some(Self::GeluTanh),
            "relu" => Some(Self::Relu),
            "silu" | "swish" => Some(Self::Silu),
            "tanh" => Some(Self::Tanh),
            _ => None,
        }
    }

    /// Applies it to every value of `row` after adding the value of `bias` beside it.
    #[inline(always)]
    pub(crate) fn apply_with_bias(self, row: &mut [f32], bias: &[f32]) {
        match self {
            Self::Identity => add(row, bias, |x| x),
            Self::Gelu => add(row, bias, gelu),
            Self::GeluTanh => add(row, bias, gelu_tanh),
            Self::Relu => add(row, bias, |x| x.max(0.0)),
            Self::Silu => add(row, bias, silu),
            Self::Tanh => add(row, bias, tanh),
        }
    }

    /// Applies it to every value of `row`.
    #[inline(always)]
    pub(crate) fn apply(self, row: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Gelu => row.iter_mut().for_each(|x| *x = gelu(*x)),
            Self::GeluTanh => row.iter_mut().for_each(|x| *x = gelu_tanh(*x)),
            Self::Relu => row.iter_mut().for_each(|x| *x = x.max(0.0)),
            Self::Silu => row.iter_mut().for_each(|x| *x = silu(*x)),
            Self::Tanh => row.iter_mut().for_each(|x| *x = tanh(*x)),
        }
    }

    /// The same by candle's operations, for other devices than the processor.
    pub(crate) fn apply_tensor(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Relu => x.relu(),
            Self::Silu => x.silu(),
            Self::Tanh => x.tanh(),
        }
    }
}

/// `silu(gate) * up`, where the left half of each row of `x` is `gate` and the right half `up`.
pub(crate) fn gated_silu(x: &Tensor) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    let half = columns / 2;
    if composed_on(x.device()) {
        return x.narrow(1, 0, half)?.silu()? * x.narrow(1, half, half)?;
    }
    let values = super::CpuSlice::of(x)?;
    let mut out = vec![0.0; rows * half];
    super::vector::widest(|| {
        for (out, row) in out.chunks_exact_mut(half).zip(values.chunks_exact(columns)) {
            let (gate, up) = row.split_at(half);
            for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
                *out = silu(gate) * up;
            }
        }
    });
    Tensor::from_vec(out, (rows, half), x.device())
}

#[inline(always)]
fn add(row: &mut [f32], bias: &[f32], f: impl Fn(f32) -> f32) {
    for (value, &bias) in row.iter_mut().zip(bias) {
        *value = f(*value + bias);
    }
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)))
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}
