#!/usr/bin/env bash
# Builds a release of gRPC with its own Protocol Buffers, Abseil, c-ares and RE2 into a folder, as
# static libraries. OpenSSL and zlib stay the distribution's, which the server links as well.
#
# The distribution's packages of the same libraries are removed, so that nothing can be built
# against a mixture of both: this is for a container.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: deploy/build_grpc.sh VERSION PREFIX [REPOSITORY]
  VERSION     of a release, such as 1.60.0
  PREFIX      folder to install into; configure with -DCMAKE_PREFIX_PATH=PREFIX and
              -DCMAKE_FIND_PACKAGE_PREFER_CONFIG=ON
  REPOSITORY  where tag vVERSION is; default: https://github.com/grpc/grpc
EOF
}

case ${1-} in -h | --help) usage; exit 0 ;; esac
(($# == 2 || $# == 3)) || { usage >&2; exit 2; }
version=$1 prefix=$2 repository=${3:-https://github.com/grpc/grpc}
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends git zlib1g-dev
DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq \
  libgrpc++-dev libgrpc-dev protobuf-compiler-grpc libprotobuf-dev protobuf-compiler libabsl-dev libre2-dev
git clone --quiet --depth 1 --branch "v$version" --recurse-submodules --shallow-submodules \
  "$repository" "$source"
# The C++ standard is that of the project: types of Abseil depend on it.
cmake -S "$source" -B "$source/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_CXX_STANDARD=20 \
  -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache \
  -DgRPC_INSTALL=ON -DgRPC_BUILD_TESTS=OFF -DgRPC_SSL_PROVIDER=package -DgRPC_ZLIB_PROVIDER=package \
  -DABSL_ENABLE_INSTALL=ON -DABSL_PROPAGATE_CXX_STD=ON \
  -DgRPC_BUILD_GRPC_CSHARP_PLUGIN=OFF -DgRPC_BUILD_GRPC_NODE_PLUGIN=OFF \
  -DgRPC_BUILD_GRPC_OBJECTIVE_C_PLUGIN=OFF -DgRPC_BUILD_GRPC_PHP_PLUGIN=OFF \
  -DgRPC_BUILD_GRPC_PYTHON_PLUGIN=OFF -DgRPC_BUILD_GRPC_RUBY_PLUGIN=OFF
cmake --build "$source/build" --target install
