"""Makes tests/fixtures: tiny models with random weights, and what PyTorch says they answer.

Run in a throwaway environment:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch transformers
    /tmp/venv/bin/python crates/candle/scripts/make_fixtures.py

The committed files were made with torch 2.15.0 and transformers 5.23.0 on a CPU. Weights are rounded to each file's
type before the reference runs, so that the files hold exactly what the reference computed with.
"""

import json
import pathlib

import torch
import transformers
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

FIXTURES = pathlib.Path(__file__).parent.parent / "tests" / "fixtures"
PROMPTS = [[1, 17, 33, 5, 60, 2], [9], [3, 3, 41, 8, 8, 29, 50, 11, 22, 63, 7, 0, 14]]


def randomise(model, dtype):
    """Weights large enough that every part of the model matters."""
    generator = torch.Generator().manual_seed(20)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                values = 0.2 * values + (1.0 if name.endswith("weight") else 0.0)
            else:
                values = values * 1.3 / min(parameter.shape) ** 0.5
            parameter.copy_(values.to(dtype).float())
    return model.float().eval()


def save(model, name, dtype, expected):
    folder = FIXTURES / name
    model.to(dtype).save_pretrained(folder)
    expected["made_with"] = f"torch {torch.__version__}, transformers {transformers.__version__}"
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def encoder():
    config = BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=32,
    )
    model = randomise(BertForMaskedLM(config), torch.float32)
    cases = []
    for tokens in PROMPTS:
        ids = torch.tensor([tokens])
        with torch.no_grad():
            hidden = model.bert(ids).last_hidden_state[0]
            logits = model(ids).logits[0]
        embedding = torch.nn.functional.normalize(hidden.mean(0), dim=0)
        cases.append({"tokens": tokens, "embedding": embedding.tolist(), "last_logits": logits[-1].tolist()})
    save(model, "bert", torch.float32, {"cases": cases})


def decoder(name, model, dtype):
    model = randomise(model, dtype)
    cases = []
    for tokens in PROMPTS:
        text = list(tokens)
        margin = float("inf")
        for _ in range(12):
            with torch.no_grad():
                logits = model(torch.tensor([text])).logits[0, -1]
            best = logits.topk(2).values
            margin = min(margin, (best[0] - best[1]).item())
            text.append(logits.argmax().item())
        # Closer calls could be decided by rounding.
        assert margin > 1e-4, margin
        cases.append({"tokens": tokens, "generated": text[len(tokens) :]})
    save(model, name, dtype, {"cases": cases})


encoder()
decoder(
    "gpt2",
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=4, eos_token_id=None, bos_token_id=None)),
    torch.float16,
)
decoder(
    "llama",
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, eos_token_id=None, bos_token_id=None,
            rope_parameters={
                "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
            },
        )
    ),
    torch.bfloat16,
)
