//! Which token comes next.

use statmux_core::Seed;
use statmux_core::backend::Sampling;

/// Chooses a token by its logit. `step` counts the tokens generated before: each step has its own draw.
pub(crate) fn choose(logits: &[f32], sampling: Sampling, step: usize) -> u32 {
    match sampling {
        Sampling::Greedy => likeliest(logits),
        Sampling::Draw { temperature, top_p, seed } => {
            // The upper 53 bits of a hash, as a number in [0, 1).
            let chance = (Seed(seed).nth(step as u64).0 >> 11) as f64 / (1u64 << 53) as f64;
            draw(logits, temperature, top_p, chance)
        }
    }
}

/// The token with the largest logit; the lowest id on a tie.
fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

/// The token at `chance` of the cumulative distribution over the likeliest tokens that make up `top_p`.
fn draw(logits: &[f32], temperature: f64, top_p: f64, chance: f64) -> u32 {
    let peak = f64::from(logits[likeliest(logits) as usize]);
    let mut weights: Vec<(f64, u32)> = logits
        .iter()
        .zip(0..)
        .map(|(&logit, token)| (((f64::from(logit) - peak) / temperature).exp(), token))
        .collect();
    let total: f64 = weights.iter().map(|(weight, _)| weight).sum();
    weights.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut kept = 0.0;
    let nucleus = weights.iter().take_while(|(weight, _)| {
        let wanted = kept < top_p * total;
        kept += weight;
        wanted
    });
    let nucleus: Vec<_> = nucleus.copied().collect();
    let mass: f64 = nucleus.iter().map(|(weight, _)| weight).sum();
    let mut left = chance * mass;
    for &(weight, token) in &nucleus {
        left -= weight;
        if left < 0.0 {
            return token;
        }
    }
    // Rounding may leave a trace; the last token of the nucleus takes it. Not-a-number logits end here too.
    nucleus.last().map_or_else(|| likeliest(logits), |&(_, token)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_lower_id_on_a_tie() {
        assert_eq!(choose(&[0.0, 3.0, 3.0, f32::NAN], Sampling::Greedy, 0), 1);
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [0.6f32.ln(), 0.1f32.ln(), 0.3f32.ln()];
        let count = |top_p: f64, temperature: f64| {
            let mut counts = [0u32; 3];
            for step in 0..20_000 {
                counts[choose(&logits, Sampling::Draw { temperature, top_p, seed: 9 }, step) as usize] += 1;
            }
            counts.map(|count| (f64::from(count) / 200.0).round() as i32)
        };
        let close = |found: [i32; 3], expected: [i32; 3]| {
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= 1), "{found:?}");
        };
        close(count(1.0, 1.0), [60, 10, 30]);
        close(count(0.8, 1.0), [67, 0, 33]);
        close(count(0.5, 1.0), [100, 0, 0]);
        close(count(1.0, 1e-3), [100, 0, 0]);
    }
}
