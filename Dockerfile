# Builds the image from a clean checkout: docker build -t verdigris .
#
# The result is Debian's smallest image and one file. Debian rather than a distroless or an empty image, because the binary
# is linked to glibc, which resolves the names of model servers as every other program in a cluster does, and because the
# builder is the same release, so that no symbol can be missing.

# Not the slim variant: the allocator is built with `make`.
FROM rust:1.95-bookworm AS build
WORKDIR /build

# Dependencies first, from the manifest and cargo's settings alone: this layer stays until they or Cargo.lock change. The
# sources here are empty.
# rust-toolchain.toml stays out on purpose: it would have rustup fetch what the base image already is.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs && cargo build --release --locked

# Then the real sources; touched, since a copied file may be older than what was just built.
COPY src src
COPY config config
RUN touch src/lib.rs src/main.rs && cargo build --release --locked

FROM debian:bookworm-slim

# A user without a name, a shell or a home, who owns nothing but the state.
RUN install -d -o 65532 -g 65532 -m 0750 /var/lib/verdigris
COPY --from=build /build/target/release/verdigris /usr/local/bin/verdigris
COPY LICENSE /usr/share/doc/verdigris/LICENSE
COPY config/docker.toml /etc/verdigris/verdigris.toml

USER 65532:65532
ENV VERDIGRIS_ADMIN=http://127.0.0.1:9900
VOLUME ["/var/lib/verdigris"]
EXPOSE 8080 9900

# The binary asks itself, over the admin API: no curl in the image. It is the process's health, not the models'.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["verdigris", "status"]

# Stops accepting, finishes what runs, leaves. Give it time for your longest answer: docker stop --time.
STOPSIGNAL SIGTERM
ENTRYPOINT ["verdigris"]
CMD ["run", "--config", "/etc/verdigris/verdigris.toml"]
