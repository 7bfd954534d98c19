#!/usr/bin/env bash
# Served against simulated, without models: how far attainment and mean latency are apart on six workloads.
#
# usage: crates/serve/benches/fidelity.sh [SECONDS [SLO_SCALE]]
# Sixteen models on eight sleeping devices: light, bursty and overloaded, replicated and in pipelines of four.
set -euo pipefail
cd "$(dirname "$0")/../../.."
seconds=${1:-20}
scale=${2:-5.5}
cargo build --quiet --release -p statmux
statmux=${CARGO_TARGET_DIR:-target}/release/statmux
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cp profiles/v100-alpaserve-scaled.json "$folder"

scenario() { # RATE CV
    cat >"$folder/scenario.toml" <<TOML
version = 1
seed = 7
[cluster]
devices = 8
memory = "13 GiB"
[profiles]
files = ["v100-alpaserve-scaled.json"]
[[models]]
name = "m{i}"
count = 16
profile = "bert-1.3b"
slo = { scale = $scale }
[workload]
kind = "gamma"
rate = $1
cv = $2
duration = "$seconds s"
split = "uniform"
[planner]
policy = "selective-replication"
TOML
}

# Two models on each device; and all sixteen on two pipelines, eight on each.
python3 - "$folder" <<'PY'
import json, sys
def write(name, groups):
    json.dump({"version": 1, "windows": [{"start_s": 0.0, "groups": groups}]}, open(f"{sys.argv[1]}/{name}.json", "w"))
write("replicated", [{"devices": [i], "op": 1, "pp": 1, "models": [f"m{2 * i}", f"m{2 * i + 1}"]} for i in range(8)])
write("pipelined", [{"devices": list(range(4 * g, 4 * g + 4)), "op": 1, "pp": 4, "models": [f"m{i}" for i in range(8 * g, 8 * g + 8)]} for g in range(2)])
PY

printf '%-10s %-10s %9s %9s %9s %9s\n' load placement simulated served "Δ points" "Δ mean %"
for load in "light 10.0 1.0" "bursty 25.0 4.0" "overloaded 80.0 2.0"; do
    read -r name rate cv <<<"$load"
    scenario "$rate" "$cv"
    for placement in replicated pipelined; do
        "$statmux" simulate -q "$folder/scenario.toml" --placement "$folder/$placement.json" --requests-out "$folder/simulated.csv" >/dev/null
        "$statmux" serve -q "$folder/scenario.toml" --backend sleep --placement "$folder/$placement.json" --listen 127.0.0.1:0 >"$folder/listening" &
        server=$!
        for _ in $(seq 100); do
            [ ! -s "$folder/listening" ] || break
            sleep 0.1
        done
        "$statmux" replay -q "$folder/scenario.toml" --target "$(sed -n 's/^listening on //p' "$folder/listening")" --prompt-tokens 8 --requests-out "$folder/served.csv" >/dev/null
        kill "$server"
        wait "$server"
        server=
        "$statmux" compare-runs "$folder/simulated.csv" "$folder/served.csv" --format json | python3 -c "
import json, sys
d = json.load(sys.stdin)
a, m = d['attainment_percent'], d['mean_s']
print(f\"{'$name':10} {'$placement':10} {a['simulated']:9.2f} {a['served']:9.2f} {a['difference']:+9.2f} {m['relative_percent']:+9.2f}\")"
    done
done
