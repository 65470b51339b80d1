#!/usr/bin/env bash
# The whole truth: every test there is. Nothing is skipped; what is missing is installed, or is a failure.
#
# Needs cargo with the toolchain of rust-toolchain.toml, a C linker, and Debian or a Python 3.11 or 3.12.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

. tests/sections.sh
. tests/venv.sh

binary=$PWD/target/guided/verdigris
export CARGO_TARGET_DIR=$PWD/target

# One program and the package that brings it, a line.
install_tools() {
  local missing=() program package
  while read -r program package; do
    command -v "$program" >/dev/null || missing+=("$package")
  done <<'TOOLS'
cc gcc
curl curl
flock util-linux
readelf binutils
openssl openssl
TOOLS
  if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" || return 1
  fi
  python_for_tests
}

loom() {
  # A target directory of its own: the flag would have cargo build everything else anew.
  RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$PWD/tests/loom/target \
    cargo test --manifest-path tests/loom/Cargo.toml --release --locked
}

licences() {
  "$(python_for_tests)" tests/licences.py
}

readme() {
  "$(python_for_tests)" tests/readme.py "$binary"
}

section 'tools' install_tools
section 'tests of the crate' cargo test --locked
section 'soaks: bad weather for a minute, and 100,000 requests of each kind' env VERDIGRIS_SOAK=full cargo test --locked --test it soak
section 'leases against drains, every interleaving (loom)' loom
section 'release build, guided by a profile' benches/guided/build --out "$binary"
section 'licences and sources of the dependencies' licences
section 'container image' tests/image/run --binary "$binary"
section 'the README as a reader would follow it' readme
section 'the comparison with other proxies: does it run' benches/compare/run --smoke --binary "$binary"
section 'real model servers' tests/real/run --binary "$binary"

sections_close 'tests/all.sh'
