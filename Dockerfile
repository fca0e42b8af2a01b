# syntax=docker/dockerfile:1
# Not yet run: no test of this project has a container engine.

FROM rust:1.95-slim-bookworm AS build
# The cryptography library is C and assembler.
RUN apt-get update && apt-get install -y --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked && cp target/release/countersign /countersign
RUN install -d -m 0700 /data

# For `quickstart` only, which plays a user who has openssl and curl: `docker build --target quickstart`.
FROM debian:bookworm-slim AS quickstart
RUN apt-get update && apt-get install -y --no-install-recommends openssl curl && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 65532 --user-group nonroot
COPY --from=build /countersign /usr/local/bin/countersign
# A volume that is mounted here first takes over this owner and mode.
COPY --from=build --chown=65532:65532 /data /data
USER nonroot
WORKDIR /data
ENTRYPOINT ["/usr/local/bin/countersign"]

# The service: glibc, CA certificates and nothing else; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot AS service
COPY --from=build /countersign /usr/local/bin/countersign
COPY --from=build --chown=nonroot:nonroot /data /data
USER nonroot
WORKDIR /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["/usr/local/bin/countersign", "--config", "/data/countersign.toml", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/countersign"]
CMD ["--config", "/data/countersign.toml", "serve"]
