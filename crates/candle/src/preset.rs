//! Models by name, with weights drawn from a seed.
//!
//! The shapes are those published, so that time and memory are those of the real models: BERT after Devlin et al. and,
//! from 1.3 billion weights on, after AlpaServe; the mixtures of experts after GShard as AlpaServe sizes them.
//! The tiny ones are ours: four layers and four heads, so that they can be cut four by four.

use crate::fallback_tokens::FallbackTokens;
use crate::models::{Bert, Config, Gpt2, Llama, Moe, StopTokens};

/// All preset names, smallest first within each architecture.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    let berts = BERTS.iter().map(|preset| preset.0);
    let moes = MOES.iter().map(|preset| preset.0);
    let gpts = GPTS.iter().map(|preset| preset.0);
    let llamas = LLAMAS.iter().map(|preset| preset.0);
    berts.chain(moes).chain(gpts).chain(llamas)
}

/// Name, layers, hidden size, heads, positions.
const BERTS: &[(&str, usize, usize, usize, usize)] = &[
    ("bert-tiny", 4, 128, 4, 512),
    ("bert-mini", 4, 256, 4, 512),
    ("bert-small", 4, 512, 8, 512),
    ("bert-base", 12, 768, 12, 512),
    ("bert-large", 24, 1024, 16, 512),
    ("bert-1.3b", 24, 2048, 32, 2048),
    ("bert-2.7b", 32, 2560, 32, 2048),
    ("bert-6.7b", 32, 4096, 32, 2048),
];

/// Name, layers, hidden size, heads, experts, feed-forward size, vocabulary.
const MOES: &[(&str, usize, usize, usize, usize, usize, usize)] = &[
    ("moe-tiny", 4, 128, 4, 4, 256, 1024),
    ("moe-380m", 8, 768, 16, 8, 6144, 32_000),
    ("moe-1.3b", 16, 768, 16, 16, 6144, 32_000),
    ("moe-2.4b", 16, 1024, 16, 16, 8192, 32_000),
    ("moe-5.3b", 16, 1536, 16, 16, 12_288, 32_000),
];

/// Name, layers, hidden size, heads, positions, vocabulary.
const GPTS: &[(&str, usize, usize, usize, usize, usize)] = &[
    ("gpt2-tiny", 4, 128, 4, 512, 1024),
    ("gpt2", 12, 768, 12, 1024, 50_257),
    ("gpt2-medium", 24, 1024, 16, 1024, 50_257),
    ("gpt2-large", 36, 1280, 20, 1024, 50_257),
    ("gpt2-xl", 48, 1600, 25, 1024, 50_257),
];

type LlamaRow = (&'static str, usize, usize, usize, usize, usize, usize, usize);

/// Name, layers, hidden size, heads, key heads, feed-forward size, positions, vocabulary.
const LLAMAS: &[LlamaRow] = &[
    ("llama-tiny", 4, 128, 4, 2, 352, 512, 1024),
    ("llama-110m", 12, 768, 12, 12, 2048, 1024, 32_000),
    ("llama-1.1b", 22, 2048, 32, 4, 5632, 2048, 32_000),
];

/// The configuration of preset `name`.
pub(crate) fn preset(name: &str) -> Option<Config> {
    let bert = BERTS.iter().find(|preset| preset.0 == name).map(|&(_, layers, hidden, heads, positions)| {
        Config::Bert(encoder(layers, hidden, heads, 4 * hidden, 30_522, positions))
    });
    let moe = MOES.iter().find(|preset| preset.0 == name);
    let moe = moe.map(|&(_, layers, hidden, heads, num_experts, inner, words)| {
        let bert = encoder(layers, hidden, heads, inner, words, 1024);
        Config::Moe(Moe { bert, num_experts, moe_layer_frequency: 2 })
    });
    let gpt = GPTS.iter().find(|preset| preset.0 == name).map(|&(_, layers, hidden, heads, positions, words)| {
        Config::Gpt2(Gpt2 {
            vocab_size: words,
            n_positions: positions,
            n_embd: hidden,
            n_layer: layers,
            n_head: heads,
            n_inner: None,
            activation_function: "gelu_new".into(),
            layer_norm_epsilon: 1e-5,
            stop: StopTokens::One(FallbackTokens::END),
            scale_attn_by_inverse_layer_idx: false,
        })
    });
    let llama = LLAMAS.iter().find(|preset| preset.0 == name);
    let llama = llama.map(|&(_, layers, hidden, heads, key_heads, inner, positions, words)| {
        Config::Llama(Box::new(Llama {
            vocab_size: words,
            hidden_size: hidden,
            intermediate_size: inner,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: Some(key_heads),
            head_dim: None,
            max_position_embeddings: positions,
            rms_norm_eps: 1e-5,
            rope_theta: None,
            rope_scaling: None,
            rope_parameters: None,
            tie_word_embeddings: true,
            attention_bias: false,
            mlp_bias: false,
            hidden_act: "silu".into(),
            stop: StopTokens::One(FallbackTokens::END),
        }))
    });
    bert.or(moe).or(gpt).or(llama)
}

fn encoder(layers: usize, hidden: usize, heads: usize, inner: usize, words: usize, positions: usize) -> Bert {
    Bert {
        vocab_size: words,
        hidden_size: hidden,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        intermediate_size: inner,
        hidden_act: "gelu".into(),
        max_position_embeddings: positions,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        position_embedding_type: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_configuration_and_room_for_the_fallback_tokens() {
        for name in preset_names() {
            let config = preset(name).expect("listed");
            assert!(config.sizes().vocabulary >= FallbackTokens::COUNT as usize, "{name}");
            assert!(config.sizes().hidden.is_multiple_of(config.sizes().heads.queries), "{name}");
        }
        assert!(preset("bert").is_none());
    }

    #[test]
    fn presets_have_the_size_their_name_says() {
        let billions = |name: &str| {
            let config = preset(name).expect("listed");
            let sizes = config.sizes();
            let (layers, _) = config.costs();
            let layers: f64 = match &config {
                // All experts are stored, two of them run.
                Config::Moe(moe) => {
                    let expert = (2 * sizes.hidden * sizes.widest) as f64;
                    let mixed = (0..sizes.layers).filter(|&layer| moe.has_experts(layer)).count() as f64;
                    layers.iter().sum::<f64>() + mixed * expert * (moe.num_experts as f64 - 2.0)
                }
                _ => layers.iter().sum(),
            };
            (layers + (sizes.vocabulary * sizes.hidden) as f64) / 1e9
        };
        for (name, size) in [
            ("bert-base", 0.11),
            ("bert-large", 0.335),
            ("bert-1.3b", 1.3),
            ("bert-2.7b", 2.7),
            ("bert-6.7b", 6.7),
            ("moe-1.3b", 1.3),
            ("moe-2.4b", 2.4),
            ("moe-5.3b", 5.3),
            ("gpt2", 0.124),
            ("llama-110m", 0.11),
        ] {
            let found = billions(name);
            assert!((found / size - 1.0).abs() < 0.06, "{name} has {found} billion weights");
        }
    }
}
