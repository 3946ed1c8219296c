# syntax=docker/dockerfile:1
# quire-server with the demo model; deploy/README.md has the commands for each argument.
#   BASE          what the image is based on: Debian 12 or Ubuntu 24.04
#   CUDA=1        with the CUDA back end; the image starts without a driver too, on the CPU
#   BUILD_BASE    what is compiled in: BASE, or with CUDA=1 an image of the same release with nvcc
#   COMMIT        what quire_build_info calls it
#   GRPC_VERSION  a release of gRPC instead of the distribution's, such as 1.60.0
ARG BASE=debian:bookworm-slim
ARG BUILD_BASE=${BASE}

# Packages alone, so that a change to the sources does not install them again.
FROM ${BUILD_BASE} AS deps
COPY deploy/install_deps.sh /src/deploy/
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && /src/deploy/install_deps.sh
ENV CCACHE_DIR=/ccache

# Without GRPC_VERSION this is deps.
FROM deps AS grpc
ARG GRPC_VERSION=
ARG GRPC_REPOSITORY=https://github.com/grpc/grpc
COPY deploy/build_grpc.sh /src/deploy/
RUN --mount=type=cache,target=/ccache \
    [ -z "$GRPC_VERSION" ] || \
    /src/deploy/build_grpc.sh "$GRPC_VERSION" /opt/grpc "$GRPC_REPOSITORY"

FROM grpc AS configured
ARG CUDA=0
ARG COMMIT=
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json ./
COPY proto proto
COPY kernels kernels
COPY core core
COPY server server
RUN set -- -DQUIRE_TESTS=OFF -DQUIRE_CUDA=OFF "-DQUIRE_COMMIT=$COMMIT"; \
    [ "$CUDA" = 0 ] || set -- "$@" -DQUIRE_CUDA=ON; \
    [ ! -d /opt/grpc ] || set -- "$@" -DCMAKE_PREFIX_PATH=/opt/grpc -DCMAKE_FIND_PACKAGE_PREFER_CONFIG=ON; \
    cmake --preset release "$@"

# Everything that the next stage takes is in /out; `--build-context build=DIRECTORY` replaces it.
FROM configured AS build
RUN --mount=type=cache,target=/ccache \
    cmake --build build/release --target quire-server quire
ARG CUDA=0
COPY deploy/collect_runtime.sh deploy/
RUN if [ "$CUDA" = 0 ]; then set --; else set -- /usr/local/cuda/lib64; fi; \
    deploy/collect_runtime.sh build/release/bin /out "$@"

FROM ${BASE} AS runtime
LABEL org.opencontainers.image.title="Quire" \
      org.opencontainers.image.description="gRPC inference server for language models" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN --mount=type=bind,from=build,source=/out,target=/out \
    apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive xargs -r -a /out/packages \
      apt-get install -y -qq --no-install-recommends \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/bin/ /usr/local/bin/
COPY --from=build /out/lib/ /usr/local/lib/
COPY --chmod=755 deploy/models/quire-demo /models/quire-demo
COPY LICENSE /usr/share/doc/quire/LICENSE

# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s \
  CMD ["/usr/local/bin/quire", "health", "--server", "127.0.0.1:50051"]
ENTRYPOINT ["/usr/local/bin/quire-server"]
# Listens beyond loopback without TLS, which a container has to: publish the port to loopback or to
# a trusted network alone. Arguments to `docker run` replace all of these.
CMD ["--model", "/models/quire-demo", "--listen", "0.0.0.0:50051", "--insecure", \
     "--metrics-listen", "0.0.0.0:9464"]
