#!/usr/bin/env bash
# Goodput of the servers of Quire and of llama.cpp on this machine's CPU; --help says what is measured.
exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/llama_cpp/goodput.py" "$@"
