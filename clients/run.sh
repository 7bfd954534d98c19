#!/usr/bin/env bash
# Runs standard clients, unmodified, against a statmux server.
#
# usage: clients/run.sh [BASE_URL ENCODER DECODER]
# Without arguments it starts a server without models first (port 18090). Needs python3 with venv, and a package index.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${STATMUX_CLIENTS_VENV:-target/clients-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check openai 'tritonclient[http]'

if [ $# -eq 3 ]; then
    base_url=$1 encoder=$2 decoder=$3
else
    cargo build --quiet --release -p statmux-serve --example sleep_server
    "${CARGO_TARGET_DIR:-target}/release/examples/sleep_server" 18090 2 5 2 2000 >/dev/null &
    server=$!
    trap 'kill "$server"' EXIT
    base_url=http://127.0.0.1:18090 encoder=m0 decoder=chat
    for _ in $(seq 100); do
        (exec 3<>/dev/tcp/127.0.0.1/18090) 2>/dev/null && break
        sleep 0.1
    done
fi

"$venv/bin/python" clients/openai_client.py "$base_url" "$encoder" "$decoder"
"$venv/bin/python" clients/triton_client.py "$base_url" "$encoder" "$decoder"
