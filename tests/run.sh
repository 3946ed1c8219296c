#!/usr/bin/env bash
# Sets up, builds and runs the tests. The last line is `N passed, N failed` (`, N skipped` where
# there are any); exits 0 only if tests ran and none failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

usage() {
  cat <<'EOF'
usage: tests/run.sh [--preset NAME] [--label REGEX] [--exclude-label REGEX] [--no-install]
  --preset NAME          CMake preset: release (default), debug, asan, tsan
  --label REGEX          only tests with such a label: unit, model_check, kernels, sim, e2e, deploy, tools, ...
  --exclude-label REGEX  all but those
  --no-install           do not install missing packages
EOF
}

fail() {  # message: something before the tests failed, which counts as one failure
  echo "run.sh: $1" >&2
  echo "0 passed, 1 failed"
  exit 1
}

preset=release install=1
ctest_options=()
while (($#)); do
  case $1 in
    --preset | --label | --exclude-label)
      (($# >= 2)) || { usage >&2; exit 2; }
      case $1 in
        --preset) preset=$2 ;;
        --label) ctest_options+=(-L "$2") ;;
        --exclude-label) ctest_options+=(-LE "$2") ;;
      esac
      shift 2
      ;;
    --no-install) install=0; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "run.sh: unknown option '$1'" >&2; usage >&2; exit 2 ;;
  esac
done

if ((install)); then
  deploy/install_deps.sh --test || fail "installing the packages failed"
  python3 -m venv build/test_clients &&
    build/test_clients/bin/pip install --quiet --disable-pip-version-check \
      -r tests/e2e/requirements.txt || fail "installing the tests' Python clients failed"
fi

jobs=$(nproc)
build=build/$preset
junit=$PWD/$build/junit.xml
cmake --preset "$preset" -DQUIRE_TESTS=ON || fail "configuring the preset '$preset' failed"
# That everything builds is shown without a sanitizer, in much less time.
target=all
[[ $preset != *san ]] || target=quire_tests
cmake --build "$build" -j "$jobs" --target "$target" || fail "the build failed"
rm -f "$junit"
ctest --test-dir "$build" -j "$jobs" --output-on-failure --no-tests=error \
  --output-junit "$junit" "${ctest_options[@]}"
exec python3 tests/tools/summarize_junit.py "$junit"
