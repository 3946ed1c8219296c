#!/usr/bin/env bash
# Installs the Debian 12 / Ubuntu 24.04 packages that Quire is built from. Says what it will install
# before it asks for root, and does nothing where nothing is missing.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: deploy/install_deps.sh [--test] [--format] [--list]
  (no option)  what building quire-server, quire and quire-bench needs
  --test       also what the tests need: the checkers of --format, clang for ThreadSanitizer, and
               libcurl, which quire-bench serve --api openai is built with where it is found
  --format     also clang-format and clang-tidy
  --list       print the packages, one a line, and install nothing
EOF
}

build_packages=(
  ca-certificates cmake ninja-build g++ ccache pkg-config
  libabsl-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev libcli11-dev libssl-dev
  libprotobuf-dev protobuf-compiler libgrpc++-dev protobuf-compiler-grpc grpc-proto
  prometheus-cpp-dev libcjose-dev libjansson-dev
)
test_packages=(
  libgtest-dev libgmock-dev python3 python3-venv python3-grpcio python3-protobuf python3-yaml
  prometheus clang curl git openssl haproxy libcurl4-openssl-dev buildah mmdebstrap runc
)
format_packages=(python3 clang-format clang-tidy)

want_test=0 want_format=0 list_only=0
for argument in "$@"; do
  case $argument in
    --test) want_test=1 want_format=1 ;;
    --format) want_format=1 ;;
    --list) list_only=1 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "install_deps.sh: unknown option '$argument'" >&2; usage >&2; exit 2 ;;
  esac
done

packages=("${build_packages[@]}")
((want_test)) && packages+=("${test_packages[@]}")
((want_format)) && packages+=("${format_packages[@]}")
mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)

if ((list_only)); then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "install_deps.sh: this is for Debian 12 and Ubuntu 24.04; elsewhere install by hand:" >&2
  printf '  %s\n' "${packages[@]}" >&2
  exit 1
fi

is_installed() {
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "install_deps.sh: all ${#packages[@]} packages are installed."
  exit 0
fi

echo "install_deps.sh: installing with apt-get, together with what they depend on:"
printf '  %s\n' "${missing[@]}"

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install_deps.sh: needs root; run it as root or install sudo" >&2
    exit 1
  fi
  as_root=(sudo)
fi
# The tests start a Prometheus of their own, so the packaged daemon must not start: Debian asks
# policy-rc.d, whose exit status 101 means no. An administrator's own policy stays.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null
echo "install_deps.sh: installed ${#missing[@]} packages."
if [[ " ${missing[*]} " == *" prometheus "* ]]; then
  echo "install_deps.sh: the Prometheus service was not started; to keep it so after a boot:" \
    "systemctl disable prometheus"
fi
