#!/usr/bin/env bash
# What a machine with a GPU is needed for, with binaries that were built elsewhere: README.md.
# Prints one table last. Exits 0 if all is well, 1 if something failed or could not be run, 77 if
# there is no GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

readonly STAGE_SECONDS=525  # the end of a stage, of the nine minutes that it may take
readonly SKIPPED=77

usage() {
  cat <<'USAGE'
usage: tests/gpu/run.sh --stage test|sanitize|bench [--out DIR] [--bin DIR]
  --stage test      every kernel test, and whole models against their goldens
  --stage sanitize  compute-sanitizer's memcheck, racecheck and initcheck on some of them
  --stage bench     limits, whole decode steps, attention; PyTorch and FlashInfer where they are
  --out DIR         where logs and numbers go (build/gpu), at most 8 files
  --bin DIR         where the binaries are (build/release/tests/gpu)
USAGE
}

stage='' out=build/gpu bin=build/release/tests/gpu
while (($#)); do
  case $1 in
    --stage | --out | --bin)
      (($# >= 2)) || { usage >&2; exit 2; }
      case $1 in
        --stage) stage=$2 ;;
        --out) out=$2 ;;
        --bin) bin=$2 ;;
      esac
      shift 2
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "run.sh: unknown option '$1'" >&2; usage >&2; exit 2 ;;
  esac
done

rows=()    # of the table
failed=0

add_row() {  # what, result, detail
  rows+=("$(printf '%-34s %-10s %s' "$1" "$2" "$3")")
  [[ $2 == FAILED || $2 == 'NOT RUN' ]] && failed=1
  return 0
}

seconds_left() { echo $((STAGE_SECONDS - SECONDS)); }

# Runs a command within what is left of the stage, and at most `most` seconds of it; its output
# goes to the end of a log. 124: it took too long, or there was no time for it.
run_within() {  # most, log, command...
  local most=$1 log=$2 left
  shift 2
  left=$(seconds_left)
  ((left > most)) && left=$most
  ((left > 0)) || return 124
  printf '\n$ %s\n' "$*" >>"$log"
  timeout --kill-after=5 "$left" "$@" >>"$log" 2>&1
}

# The last line of a log that names a number of passed tests, and how many failed.
count_tests() {  # log, first line
  local part
  part=$(tail -n "+$2" "$1")
  printf '%s passed, %s failed' \
    "$(grep -oP '^\[  PASSED  \] \K\d+' <<<"$part" | tail -n 1 || true)" \
    "$(grep -oP '^ ?\K\d+(?= FAILED TESTS?)' <<<"$part" | tail -n 1 || true)" |
    sed 's/^ passed/0 passed/; s/,  failed/, 0 failed/'
}

run_tests() {  # what, most seconds, log, binary, filter
  local begin=$SECONDS line status
  touch "$3"
  line=$(($(wc -l <"$3") + 1))
  run_within "$2" "$3" "$bin/$4" --gtest_filter="$5"
  status=$?
  local detail
  detail="$(count_tests "$3" "$line"), $((SECONDS - begin)) s"
  case $status in
    0) add_row "$1" ok "$detail" ;;
    124 | 137) add_row "$1" FAILED "$detail; stopped for lack of time" ;;
    *)
      add_row "$1" FAILED "$detail, exit status $status"
      tail -n "+$line" "$3" | grep -A 3 -m 8 -E 'Failure$|check failed|error' | cut -c 1-300
      ;;
  esac
}

stage_test() {
  local log=$out/test.log
  run_tests 'kernels: rows' 100 "$log" gpu_kernels 'Row*'
  run_tests 'kernels: rope' 100 "$log" gpu_kernels 'Rope*:E4m3*'
  run_tests 'kernels: sample' 180 "$log" gpu_kernels '*Sample*'
  run_tests 'kernels: attention' 180 "$log" gpu_kernels '*Attention*'
  run_tests 'whole models' 300 "$log" gpu_golden_model '*'
}

find_sanitizer() {
  local candidate
  for candidate in "$(command -v compute-sanitizer)" \
    {"${CUDA_HOME:-/usr/local/cuda}",/usr/local/cuda}/{bin,compute-sanitizer}/compute-sanitizer \
    /opt/nvidia/*/compute-sanitizer; do
    if [[ -n $candidate && -x $candidate ]]; then
      echo "$candidate"
      return 0
    fi
  done
  return 1
}

sanitize() {  # tool, most seconds, binary, filter, more options of the sanitizer...
  local tool=$1 most=$2 binary=$3 filter=$4 log=$out/$1.log begin=$SECONDS line status detail
  shift 4
  touch "$log"
  line=$(($(wc -l <"$log") + 1))
  # No more than our own kernels: a library's may read what it does not use.
  run_within "$most" "$log" "$sanitizer" --tool "$tool" --kernel-name kns=RunOnGpu \
    --error-exitcode 9 "$@" "$bin/$binary" --gtest_filter="$filter"
  status=$?
  detail="$(tail -n "+$line" "$log" | grep -E '^=+ (ERROR|RACECHECK) SUMMARY' | tail -n 1 |
    sed 's/^=* //'); $(count_tests "$log" "$line"), $((SECONDS - begin)) s"
  if ((status == 0)); then
    add_row "$tool: $binary" ok "$detail"
  elif tail -n "+$line" "$log" | grep -qiE 'device not supported|failed to initialize|no usable GPU'; then
    add_row "$tool: $binary" 'NOT RUN' 'this machine refuses compute-sanitizer; see the log'
  elif ((status == 124 || status == 137)); then
    add_row "$tool: $binary" 'NOT RUN' "stopped for lack of time; $detail"
  else
    add_row "$tool: $binary" FAILED "$detail, exit status $status"
    tail -n "+$line" "$log" | grep -m 6 -A 4 -E '^=+ (Invalid|Error|Uninit|Race|Warning)' | cut -c 1-200
  fi
}

stage_sanitize() {
  local sanitizer
  if ! sanitizer=$(find_sanitizer); then
    add_row compute-sanitizer 'NOT RUN' 'it is not installed here'
    return
  fi
  local rows_cases='RowKernelsTest.*' rope_cases='RopeKernelTest.Fp8*:RopeKernelTest.ATokens*'
  local sample_cases='*Sample*Rows*:*SampleRules*All*:*Sample*Alternatives*'
  local attention_cases='*Decode*:*MixedBatches*:*PromptsMatch*:*EmptySequences*:*OneInfinite*'
  local models='Models/*LogitsAreAsClose*/mha:*LogitsAreAsClose*/gemma2*'
  local kernels="$rows_cases:$rope_cases:$sample_cases:$attention_cases"
  sanitize memcheck 100 gpu_kernels "$kernels"
  sanitize racecheck 140 gpu_kernels "$kernels"
  sanitize memcheck 70 gpu_golden_model "$models"
  sanitize initcheck 70 gpu_golden_model "$models"
  sanitize racecheck 70 gpu_golden_model "$models"
}

stage_bench() {
  local log=$out/bench.log status
  run_within $((STAGE_SECONDS - 60)) "$log" "$bin/gpu_bench" --json "$out/bench.json" \
    --limit-seconds $((STAGE_SECONDS - 120))
  status=$?
  if ((status == 0)); then
    add_row gpu_bench ok "$SECONDS s; numbers in $out/bench.json"
    grep -E 'WRONG|NOT FINITE' "$log" >/dev/null && add_row 'results of gpu_bench' FAILED "see $log"
  else
    add_row gpu_bench FAILED "exit status $status; $(tail -n 1 "$log" | cut -c 1-200)"
  fi
  if python3 -c 'import torch' 2>/dev/null; then
    if run_within 100 "$out/compare.log" python3 tests/gpu/compare_sdpa.py \
      --quire "$out/bench.json" --json "$out/compare.json"; then
      add_row compare_sdpa.py ok "$SECONDS s; numbers in $out/compare.json"
    else
      add_row compare_sdpa.py FAILED "$(tail -n 1 "$out/compare.log" | cut -c 1-200)"
    fi
  else
    add_row compare_sdpa.py 'left out' "python3 has no torch"
  fi
  sed -n '/^$/,$p' "$log"
  [[ -f $out/compare.log ]] && sed -n '/^$/,$p' "$out/compare.log"
}

# cuBLASLt is loaded by its name: from the toolkit, or from where pip puts it.
find_cublaslt() {
  local folder
  for folder in {"${CUDA_HOME:-/usr/local/cuda}",/usr/local/cuda}/lib64 \
    "$(python3 -c 'import nvidia, os
print(next((os.path.join(p, d, "lib") for p in nvidia.__path__ for d in ("cu13", "cublas")
            if os.path.isdir(os.path.join(p, d, "lib"))), ""))' 2>/dev/null)"; do
    [[ -n $folder ]] || continue
    compgen -G "$folder/libcublasLt.so.*" >/dev/null || continue
    export LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    return
  done
}

[[ $stage == test || $stage == sanitize || $stage == bench ]] || { usage >&2; exit 2; }
[[ -x $bin/gpu_bench ]] || {
  echo "run.sh: no binaries in $bin; build the target gpu_binaries"
  exit 1
}
gpu=$("$bin/gpu_bench" --probe)
status=$?
((status == 0)) || { echo "run.sh: $gpu"; exit "$((status == SKIPPED ? SKIPPED : 1))"; }
mkdir -p "$out" || exit 1
rm -f "$out"/{test,memcheck,racecheck,initcheck,bench,compare}.log "$out"/{bench,compare}.json
find_cublaslt
case $stage in
  test) stage_test ;;
  sanitize) stage_sanitize ;;
  bench) stage_bench ;;
esac
echo
echo "tests/gpu/run.sh --stage $stage on $gpu: $SECONDS s"
printf '%s\n' "${rows[@]}"
exit "$failed"
