#!/usr/bin/env bash
# Runs standard clients, unmodified, against a statmux server.
#
# usage: clients/run.sh [BASE_URL ENCODER DECODER]
# Without arguments it measures two tiny models and serves them first. Needs python3 with venv, and a package index;
# ends with exit code 77 where it cannot have the clients.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${STATMUX_CLIENTS_VENV:-${CARGO_TARGET_DIR:-target}/clients-venv}
if [ ! -x "$venv/bin/python" ] && ! python3 -m venv "$venv" >/dev/null 2>&1; then
    rm -rf "$venv"
    echo "skipped: python3 with venv is not here" >&2
    exit 77
fi
if ! "$venv/bin/pip" install --quiet --disable-pip-version-check openai 'tritonclient[http]' >/dev/null 2>&1; then
    echo "skipped: openai and tritonclient cannot be installed here" >&2
    exit 77
fi

if [ $# -eq 3 ]; then
    base_url=$1 encoder=$2 decoder=$3
else
    cargo build --quiet --release -p statmux
    statmux=${CARGO_TARGET_DIR:-target}/release/statmux
    folder=$(mktemp -d)
    server=
    trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
    cp clients/scenario.toml "$folder"
    "$statmux" profile -q --models bert-tiny,llama-tiny --pp 1,2 --sequence 32 --repeats 5 -o "$folder/profile.json" >/dev/null
    "$statmux" serve -q "$folder/scenario.toml" --listen 127.0.0.1:0 >"$folder/listening" &
    server=$!
    for _ in $(seq 100); do
        [ ! -s "$folder/listening" ] || break
        sleep 0.1
    done
    base_url=$(sed -n 's/^listening on //p' "$folder/listening") encoder=encoder decoder=decoder
fi

"$venv/bin/python" clients/openai_client.py "$base_url" "$encoder" "$decoder"
"$venv/bin/python" clients/triton_client.py "$base_url" "$encoder" "$decoder"
