# syntax=docker/dockerfile:1
# quire-server with the demo model. Build: docker build -t quire .
# Another base, such as Ubuntu: docker build --build-arg BASE=ubuntu:24.04 -t quire .
ARG BASE=debian:bookworm-slim

# Packages alone, so that a change to the sources does not install them again.
FROM ${BASE} AS deps
COPY deploy/install_deps.sh /src/deploy/install_deps.sh
RUN /src/deploy/install_deps.sh && rm -rf /var/lib/apt/lists/*

FROM deps AS build
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json ./
COPY proto proto
COPY kernels kernels
COPY core core
COPY server server
RUN cmake --preset release -DQUIRE_TESTS=OFF \
 && cmake --build build/release --target quire-server quire \
 && strip build/release/bin/quire-server build/release/bin/quire
# The packages that own the shared libraries of the two programs: their names differ between
# releases, and the runtime stage needs nothing else. A merged /usr has two names for one file.
RUN ldd build/release/bin/quire-server build/release/bin/quire \
  | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u \
  | while read -r library; do \
      dpkg -S "$library" 2>/dev/null || dpkg -S "/usr$library" 2>/dev/null \
        || dpkg -S "${library#/usr}"; \
    done | cut -d: -f1 | sort -u >runtime_packages

FROM ${BASE} AS runtime
LABEL org.opencontainers.image.title="Quire" \
      org.opencontainers.image.description="gRPC inference server for language models" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/runtime_packages /runtime_packages
RUN apt-get update -qq \
 && xargs -r env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends </runtime_packages \
 && rm -rf /var/lib/apt/lists/* /runtime_packages
COPY --from=build /src/build/release/bin/quire-server /src/build/release/bin/quire /usr/local/bin/
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
