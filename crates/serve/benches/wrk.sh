#!/usr/bin/env bash
# Throughput of server and scheduler, measured with wrk (https://github.com/wg/wrk, packaged by most systems).
#
# usage: crates/serve/benches/wrk.sh [SECONDS] [CONNECTIONS]
# The server runs 16 groups without models whose stages take a microsecond, so what is left is our own.
set -euo pipefail
cd "$(dirname "$0")/../../.."
seconds=${1:-10} connections=${2:-64} port=18091
command -v wrk >/dev/null || { echo "wrk is not installed" >&2; exit 1; }

cargo build --quiet --release -p statmux-serve --example sleep_server
"${CARGO_TARGET_DIR:-target}/release/examples/sleep_server" $port 16 0.001 1 10000 >/dev/null &
server=$!
trap 'kill "$server"' EXIT
sleep 1
resident() { awk '/VmRSS/ { print $2 " kB resident" }' "/proc/$server/status"; }

echo "before: $(resident)"
wrk -t1 -c"$connections" -d"${seconds}s" --latency -s crates/serve/benches/embeddings.lua "http://127.0.0.1:$port/v1/embeddings"
echo "after: $(resident)"
echo "the same connections without requests to the scheduler:"
wrk -t1 -c"$connections" -d2s --latency "http://127.0.0.1:$port/v2/health/live" | grep -E 'Requests/sec|50%|99%'
