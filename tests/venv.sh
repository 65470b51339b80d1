# shellcheck shell=bash
# Sourced by the tests that are written in Python. Gives each list of requirements a virtual environment of its own, kept
# below ${XDG_CACHE_HOME:-$HOME/.cache}/verdigris-tests and used again while the list and the interpreter stay the same.

# python_for_tests: prints the name of a Python that the tests can use; installs Debian's if there is none.
# Not older than 3.11 (tomllib), not newer than 3.12 (mlserver 1.7.1 and numpy 1.26.4 end there).
python_for_tests() {
  local name attempt
  for attempt in as-it-is after-install; do
    for name in python3.11 python3.12 python3; do
      # A python3 without ensurepip cannot make environments: on Debian that is a package of its own.
      if "$name" -c 'import ensurepip, venv, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
        echo "$name"
        return
      fi
    done
    if [ "$attempt" = as-it-is ]; then
      echo "no Python 3.11 or 3.12 that can make virtual environments: installing Debian's" >&2
      apt-get update -qq >&2 || break
      apt-get install -y -qq --no-install-recommends python3 python3-venv >&2 || break
    fi
  done
  echo "the tests need Python 3.11 or 3.12 with venv; install one and run them again" >&2
  return 1
}

# venv_for NAME REQUIREMENTS: prints the directory of an environment that has exactly these packages.
venv_for() {
  local name=$1 requirements=$2 python cache venv
  python=$(python_for_tests) || return 1
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/verdigris-tests
  venv=$cache/$name-$({ cat "$requirements" && "$python" -VV; } | sha256sum | cut -c1-16)
  mkdir -p "$cache" || return 1
  (
    flock 9 # two runs on one machine must not build the same environment at once
    [ -e "$venv/complete" ] && exit
    echo "installing $requirements into $venv" >&2
    rm -rf "$venv"
    # Wheels only, and nothing that is not listed: what runs here is what the list says.
    "$python" -m venv "$venv" &&
      "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$requirements" >&2 &&
      "$venv/bin/pip" check >&2 &&
      touch "$venv/complete"
  ) 9>"$cache/$name.lock" || return 1
  echo "$venv"
}
