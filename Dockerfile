# Builds the image from a clean checkout: docker build -t verdigris .
#
# The result is Debian's smallest image and one file. Debian rather than a distroless or an empty image, because the binary
# is linked to glibc, which resolves the names of model servers as every other program in a cluster does, and because the
# builder is the same release, so that no symbol can be missing.

# Not the slim variant: the allocator is built with `make`, and the build's training needs Python.
FROM rust:1.95-bookworm AS build
WORKDIR /build

# What the training needs, from Debian, llvm-profdata among it: this layer stays until these files change.
# rust-toolchain.toml stays out on purpose: it would have rustup fetch what the base image already is.
COPY tests/venv.sh tests/venv.sh
COPY tests/shared tests/shared
COPY benches/compare benches/compare
COPY benches/guided benches/guided
RUN benches/guided/build --tools

# Then everything else. No layer of the dependencies alone: they, too, are built with what the training has counted.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src src
COPY config config
RUN benches/guided/build --out /build/verdigris

FROM debian:bookworm-slim

# A user without a name, a shell or a home, who owns nothing but the state.
RUN install -d -o 65532 -g 65532 -m 0750 /var/lib/verdigris
COPY --from=build /build/verdigris /usr/local/bin/verdigris
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
