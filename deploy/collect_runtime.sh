#!/usr/bin/env bash
# Gathers what an image of the server needs from a build: bin/ with the programs, stripped, lib/
# with libraries that no package has, and packages, a list.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: deploy/collect_runtime.sh BIN OUT [CUDA_LIBRARIES]
  BIN             folder with quire-server and quire
  OUT             folder to write
  CUDA_LIBRARIES  folder of the CUDA Toolkit with cuBLASLt, which a build with CUDA loads; left
                  out, the image serves on the CPU alone
EOF
}

case ${1-} in -h | --help) usage; exit 0 ;; esac
(($# == 2 || $# == 3)) || { usage >&2; exit 2; }
bin=$1 out=$2 cuda_libraries=${3-}

# The packages that own the shared libraries of the programs: their names differ between releases.
packages_of() {
  local found library owner path
  local -a libraries
  local -A owners
  found=$(ldd "$@")
  if grep 'not found' <<<"$found" >&2; then
    echo "collect_runtime.sh: these libraries are missing" >&2
    return 1
  fi
  # A merged /usr has two names for one file, of which dpkg knows either. It is asked once, since
  # it takes long to answer, and fails where it does not know one.
  mapfile -t libraries < <(sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' <<<"$found" | sed 's/^\/usr//' | sort -u)
  while IFS=' ' read -r owner path; do
    owners[${path#/usr}]=${owner%%:*}
  done < <(dpkg -S "${libraries[@]}" "${libraries[@]/#//usr}" 2>/dev/null)
  for library in "${libraries[@]}"; do
    [[ -n ${owners[$library]-} ]] || { echo "collect_runtime.sh: no package has $library" >&2; return 1; }
    echo "${owners[$library]}"
  done
}

mkdir -p "$out/bin" "$out/lib"
for program in quire-server quire; do
  strip -o "$out/bin/$program" "$bin/$program"
done
packages=$(packages_of "$out/bin/quire-server" "$out/bin/quire")
sort -u <<<"$packages" >"$out/packages"
if [[ -n $cuda_libraries ]]; then
  # Loaded by the name that has only the major version, so it is not among what ldd finds.
  mapfile -t libraries < <(find "$cuda_libraries/" -maxdepth 1 -regex '.*/libcublasLt\.so\.[0-9]+')
  ((${#libraries[@]} == 1)) ||
    { echo "collect_runtime.sh: $cuda_libraries has ${#libraries[@]} libcublasLt.so.MAJOR, not one" >&2; exit 1; }
  cp -L "${libraries[0]}" "$out/lib/"
fi
