"""Makes tests/fixtures/sentence: folders of sentence-transformers without their encoder, which is fixtures/bert, and what
sentence-transformers says they answer.

Run after make_fixtures.py, in a throwaway environment:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install sentence-transformers
    /tmp/venv/bin/python crates/candle/scripts/make_sentence_fixtures.py

The committed files were made with sentence-transformers 6.2.0, torch 2.15.0 and transformers 5.23.0 on a CPU. Pooling,
dense layers and normalisation are the library's own; token ids go to the encoder directly, so that no tokenizer is
needed. Some configurations are then rewritten in the words of older releases.
"""

import json
import pathlib
import shutil

import sentence_transformers
import torch
import transformers
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.sentence_transformer.modules.pooling import Pooling

FIXTURES = pathlib.Path(__file__).parent.parent / "tests" / "fixtures"
WIDTH = 32
TEXTS = [[1, 17, 33, 5, 60, 2], [9], [3, 3, 41, 8, 8, 29, 50, 11, 22, 63, 7, 0, 14]]


def dense(inputs, outputs, bias, activation, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
    init_bias = torch.randn(outputs, generator=generator) if bias else None
    return Dense(inputs, outputs, bias=bias, activation_function=activation, init_weight=weight, init_bias=init_bias)


# Name, modules after the encoder, and whether the pooling is written with flags as before release 6.
VARIANTS = [
    ("cls", [Pooling(WIDTH, "cls"), Normalize()], True),
    ("max", [Pooling(WIDTH, "max")], True),
    ("mean", [Pooling(WIDTH, "mean"), Normalize()], False),
    ("mean_sqrt", [Pooling(WIDTH, "mean_sqrt_len_tokens")], True),
    ("weightedmean", [Pooling(WIDTH, "weightedmean")], False),
    ("lasttoken", [Pooling(WIDTH, "lasttoken")], False),
    ("flags", [Pooling(WIDTH, ["cls", "max", "mean", "lasttoken"])], True),
    ("several", [Pooling(WIDTH, ["lasttoken", "cls", "mean_sqrt_len_tokens"]), Normalize()], False),
    (
        "dense",
        [
            Pooling(WIDTH, ["mean", "max"]),
            dense(2 * WIDTH, 24, True, torch.nn.Tanh(), 1),
            dense(24, 10, False, torch.nn.Identity(), 2),
            Normalize(),
        ],
        False,
    ),
    ("gelu", [Pooling(WIDTH, "cls"), Normalize(), dense(WIDTH, 40, True, torch.nn.GELU(), 3)], True),
]
FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def with_flags(path):
    config = json.loads(path.read_text())
    modes = config.pop("pooling_mode")
    modes = [modes] if isinstance(modes, str) else modes
    config["word_embedding_dimension"] = config.pop("embedding_dimension")
    config |= {flag: name in modes for name, flag in FLAGS.items()}
    path.write_text(json.dumps(config, indent=2) + "\n")


def answer(encoder, modules, tokens, padding, types):
    features = {
        "input_ids": torch.tensor([tokens + [0] * padding]),
        "attention_mask": torch.tensor([[1] * len(tokens) + [0] * padding]),
        "token_type_ids": torch.tensor([types + [0] * padding]),
    }
    with torch.no_grad():
        features["token_embeddings"] = encoder(**features).last_hidden_state
        for module in modules:
            features = module(features)
    return features["sentence_embedding"][0].tolist()


def folder(encoder, name, modules, flags):
    target = FIXTURES / "sentence" / name
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for index, module in enumerate(modules, 1):
        kind = type(module).__name__
        path = f"{index}_{kind}"
        (target / path).mkdir(parents=True)
        module.save(str(target / path))
        if kind == "Pooling" and flags:
            with_flags(target / path / "config.json")
        word = "sentence_transformers.models." + kind if flags else type(module).__module__ + "." + kind
        listed.append({"idx": index, "name": str(index), "path": path, "type": word})
    (target / "modules.json").write_text(json.dumps(listed, indent=2) + "\n")
    cases = []
    for tokens in TEXTS:
        types = [int(2 * place >= len(tokens)) for place in range(len(tokens))]
        for padding, types in [(0, [0] * len(tokens)), (3, types)]:
            embedding = answer(encoder, modules, tokens, padding, types)
            cases.append({"tokens": tokens, "padding": padding, "types": types, "embedding": embedding})
    made_with = f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}"
    (target / "expected.json").write_text(json.dumps({"cases": cases, "made_with": made_with}) + "\n")


def main():
    shutil.rmtree(FIXTURES / "sentence", ignore_errors=True)
    encoder = transformers.BertModel.from_pretrained(FIXTURES / "bert", add_pooling_layer=False).eval()
    for name, modules, flags in VARIANTS:
        folder(encoder, name, modules, flags)


main()
