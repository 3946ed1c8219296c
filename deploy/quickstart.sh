#!/usr/bin/env bash
# From a fresh Debian 12 or Ubuntu 24.04 machine to one streamed answer: installs what is missing
# (and says so first), builds the three programs, starts a server with the demo model, asks it
# something, and shows what it measured and how its KV blocks are made.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'EOF'
usage: deploy/quickstart.sh [--once] [--no-install]
  --once        stop the server after the first answer; exit 0 if there was one
  --no-install  install nothing, only build and run
EOF
}

once=0 install=1
for argument in "$@"; do
  case $argument in
    --once) once=1 ;;
    --no-install) install=0 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "quickstart.sh: unknown option '$argument'" >&2; usage >&2; exit 2 ;;
  esac
done

build=build/release
model=deploy/models/quire-demo
# The demo model answers questions about such stories, and each answer has to be read in the prompt.
prompt='Story: In the red box 7 green pears lie. Nora went to the harbour. Hugo likes owls.
Q: What is in the red box?
A:'
server_pid=
scratch=$(mktemp -d)

say() { printf '\n== %s\n' "$*"; }

fail() {
  echo "quickstart.sh: $*" >&2
  exit 1
}

stop_server() {
  if [[ -n $server_pid ]] && kill -TERM "$server_pid" 2>/dev/null; then
    wait "$server_pid" || true
  fi
  server_pid=
}

clean_up() {
  stop_server
  rm -rf "$scratch"
}
trap clean_up EXIT

build_programs() {
  local options=()
  # Tests need more packages. A build directory that has them keeps them.
  [[ -e $build/CMakeCache.txt ]] || options+=(-DQUIRE_TESTS=OFF)
  cmake --preset release "${options[@]}" >"$scratch/configure.log" ||
    { cat "$scratch/configure.log" >&2; fail "configuring failed"; }
  cmake --build "$build" -j "$(nproc)" --target quire-server quire quire-bench ||
    fail "the build failed"
}

# The server writes the file whole once it listens; until then, or until it is gone, there is
# nothing else to wait for.
start_server() {
  "$build/bin/quire-server" --model "$model" --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 \
    --kv-memory 64M --port-file "$scratch/ports" 2>"$scratch/server.log" &
  server_pid=$!
  local tries
  for ((tries = 0; tries < 600; ++tries)); do
    [[ -e $scratch/ports ]] && break
    kill -0 "$server_pid" 2>/dev/null || break
    sleep 0.1
  done
  cat "$scratch/server.log"
  [[ -e $scratch/ports ]] || fail "the server did not start"
  listen=$(sed -n 's/^listen=//p' "$scratch/ports")
  metrics=$(sed -n 's/^metrics=//p' "$scratch/ports")
}

# Plain bash, so that the build needs no HTTP client.
read_metrics() {
  local connection
  exec {connection}<>"/dev/tcp/${metrics%:*}/${metrics##*:}"
  printf 'GET /metrics HTTP/1.0\r\nHost: %s\r\n\r\n' "$metrics" >&"$connection"
  cat <&"$connection"
  exec {connection}>&-
}

show_metrics() {
  read_metrics >"$scratch/metrics"
  grep -E '^quire_(kv_blocks|kv_capacity_blocks|kv_block_bytes|requests_finished_total|generated_tokens_total|time_to_first_token_seconds_(sum|count))([{ ])' \
    "$scratch/metrics" | sed -E 's/(model|device)="[^"]*",?//g; s/,\}/}/; s/\{\}//' ||
    fail "the metrics are missing from http://$metrics/metrics"
}

show_next() {
  cat <<EOF
The next three commands:
  $build/bin/quire generate --server $listen --ignore-eos --max-tokens 200 "Story:"
  $build/bin/quire plan llama-3.1-8b --kv-memory 16GiB
  tests/run.sh
EOF
}

if ((install)); then
  say "Packages"
  deploy/install_deps.sh || fail "installing packages failed; --no-install goes on without"
fi
say "Building quire-server, quire and quire-bench in $build"
build_programs
say "Starting a server with the demo model"
start_server
say "One answer, streamed"
echo "$prompt"
"$build/bin/quire" generate --server "$listen" --max-tokens 64 --temperature 0 "$prompt" |
  tee "$scratch/answer" || fail "no answer"
grep -q '7 green pears' "$scratch/answer" || fail "the answer should be '7 green pears.'"
say "What it measured: http://$metrics/metrics"
show_metrics
say "What fits in 64 MiB of KV cache, from MHA to MQA"
"$build/bin/quire" plan "$model" --kv-memory 64MiB
say "Done in $SECONDS s"
if ((once)); then
  stop_server
  echo "Without --once the server stays up to answer more."
  exit 0
fi
show_next
echo "The server runs until Ctrl-C."
trap 'exit 0' INT TERM
wait "$server_pid"
