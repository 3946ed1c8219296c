#!/bin/sh
# Compiler launcher: runs nvcc and keeps what ptxas says of registers and spills beside the object
# file, for tests/tools/check_cuda_resources.py; everything else goes on to the screen.
object= previous=
for argument in "$@"; do
  [ "$previous" = "-o" ] && object=$argument
  previous=$argument
done
"$@" 2>"$object.ptxas"
status=$?
grep -v -E '^(ptxas info|    [0-9]+ bytes stack frame)' "$object.ptxas" >&2
exit $status
