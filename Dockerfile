# syntax=docker/dockerfile:1
# docker build -t bareme:0.1.0 .
# docker run --read-only -v bareme:/data -p 8080:8080 bareme:0.1.0

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive the layer: what did not change is not built again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package bareme \
    && install -D -s target/release/bareme /out/bareme \
    && mkdir /out/data

# Nothing is installed here: the program needs glibc, and certificates of the world for buckets.
FROM debian:12.11-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/bareme /usr/local/bin/bareme
# A new volume takes the owner of the folder that it covers.
COPY --from=build --chown=10001:10001 /out/data /data
COPY --from=build --chown=10001:10001 /out/data /dumps
ENV BAREME_LISTEN=0.0.0.0:8080 BAREME_DATA_DIR=/data
USER 10001:10001
VOLUME /data
# That for operators (9080) is on the container's loopback, unless BAREME_OPS_LISTEN says otherwise.
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["bareme", "healthcheck"]
ENTRYPOINT ["bareme"]
CMD ["serve"]
