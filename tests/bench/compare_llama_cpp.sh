#!/usr/bin/env bash
# Speed of Quire and of llama.cpp on this machine's CPU, in turns; --help says what is measured.
exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/llama_cpp/compare.py" "$@"
