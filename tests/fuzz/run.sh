#!/usr/bin/env bash
# Builds the fuzz targets with clang's libFuzzer and sanitizers and runs each for a while, two at a
# time. A finding is left in build/fuzz/findings. The last line is `N targets, N findings`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

usage() {
  cat <<'EOT'
usage: tests/fuzz/run.sh [--seconds N] [--jobs N] [TARGET...]
  --seconds N  how long each target runs (default: 600)
  --jobs N     targets at once (default: the cores)
  TARGET       such as safetensors; default: all
EOT
}

seconds=600 jobs=$(nproc) targets=()
while (($#)); do
  case $1 in
    --seconds | --jobs)
      (($# >= 2)) || { usage >&2; exit 2; }
      [[ $1 == --seconds ]] && seconds=$2 || jobs=$2
      shift 2
      ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "run.sh: unknown option '$1'" >&2; usage >&2; exit 2 ;;
    *) targets+=("$1"); shift ;;
  esac
done

build=build/fuzz
((${#targets[@]})) || mapfile -t targets < <(basename -s _fuzzer.cc -a tests/fuzz/*_fuzzer.cc)
cmake --preset fuzz || exit 1
cmake --build "$build" -j "$(nproc)" --target "${targets[@]/#/fuzz_}" || exit 1

fuzz() {  # target
  local corpus=$build/corpus/$1 findings=$build/findings/$1
  mkdir -p "$corpus" "$findings"
  "$build/tests/fuzz_$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -max_len=65536 -print_final_stats=1 -artifact_prefix="$findings/" \
    "$corpus" "tests/fuzz/corpus/$1" >"$build/fuzz_$1.log" 2>&1
  local status=$?
  grep -E 'stat::(number_of_executed_units|peak_rss_mb)|ERROR|SUMMARY' "$build/fuzz_$1.log" |
    sed "s/^/$1: /"
  return $status
}

rm -rf "$build/findings"
findings=0 running=0
for target in "${targets[@]}"; do
  fuzz "$target" &
  ((++running >= jobs)) && { wait -n || ((++findings)); ((--running)); }
done
while ((running-- > 0)); do wait -n || ((++findings)); done
echo "${#targets[@]} targets, $findings findings"
((findings == 0))
