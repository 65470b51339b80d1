# shellcheck shell=bash
# Sourced by benches/*/run: what the measurements need, installed or built. `root` is the root of the repository.
# shellcheck source=tests/venv.sh
. "${root:?}/tests/venv.sh"

target=${CARGO_TARGET_DIR:-$root/target}
python=$(python_for_tests)
export PYTHONPATH=$root/benches/compare:$root/tests/shared
export PYTHONDONTWRITEBYTECODE=1 # leaves nothing in the work tree
ulimit -n "$(ulimit -Hn)"        # a connection is a descriptor on each side of it

# install_tools: the other proxies and the load generators, from Debian.
install_tools() {
  local missing=() program package
  while read -r program package; do
    command -v "$program" >/dev/null || missing+=("$package")
  done <<'TOOLS'
nginx nginx-light
haproxy haproxy
wrk wrk
h2load nghttp2-client
curl curl
openssl openssl
taskset util-linux
TOOLS
  [ ${#missing[@]} -eq 0 ] && return
  apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# load_tool: prints the path of the origin and client that no package has.
load_tool() {
  cargo build --quiet --release --locked --manifest-path "$root/benches/compare/load/Cargo.toml" --target-dir "$target/compare" >&2 &&
    echo "$target/compare/release/verdigris-load"
}

# verdigris_binary ARGUMENT…: prints the path of the release binary, built unless the arguments name one.
verdigris_binary() {
  case " $* " in
    *' --binary '* | *' --list '*) ;;
    *) cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" >&2 || return ;;
  esac
  echo "$target/release/verdigris"
}
