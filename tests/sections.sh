# shellcheck shell=bash
# Sourced by .ci/run and tests/all.sh: runs commands one after another under headings, each with the time it took.
#
# A section that fails does not stop the others: one run tells all there is to tell. No section leaves a process behind: each
# has a process group of its own, and what is still there at its end is ended by its number, and counts as a failure.

set -m # gives each background job a process group of its own
sections_begin=$SECONDS
sections_passed=0
sections_failed=()
section_group=

trap 'section_interrupted' INT TERM HUP

# section TITLE COMMAND…: runs the command.
section() {
  local title=$1 begin=$SECONDS code=0 left
  shift
  printf '\n=== %s\n' "$title"
  "$@" </dev/null &
  section_group=$!
  wait "$section_group" || code=$?
  left=$(processes_of "$section_group")
  if [ -n "$left" ]; then
    printf '!!! left behind: %s\n' "$left"
    kill -KILL -- "-$section_group" 2>/dev/null
    [ "$code" -ne 0 ] || code=99
  fi
  section_group=
  if [ "$code" -eq 0 ]; then
    sections_passed=$((sections_passed + 1))
    printf '=== %s: ok, %d s\n' "$title" $((SECONDS - begin))
  else
    sections_failed+=("$title")
    printf '=== %s: FAILED (%d), %d s\n' "$title" "$code" $((SECONDS - begin))
  fi
}

# sections_close NAME: the last line; exits with 1 if a section failed.
sections_close() {
  local name=$1
  printf '\n'
  if [ ${#sections_failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${sections_failed[@]}"
  fi
  printf '%s: %d of %d sections ok, %d s\n' \
    "$name" "$sections_passed" $((sections_passed + ${#sections_failed[@]})) $((SECONDS - sections_begin))
  [ ${#sections_failed[@]} -eq 0 ] || exit 1
}

# processes_of GROUP: the living processes of a group, by number and name.
processes_of() {
  local group=$1 stat line fields
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    read -ra fields <<<"${line##*) }" # after the name, which may hold anything: state, parent, group
    if [ "${fields[2]}" = "$group" ] && [ "${fields[0]}" != Z ]; then
      printf '%s) ' "${line%%)*}"
    fi
  done
}

section_interrupted() {
  if [ -n "$section_group" ]; then
    # First politely, so that a section can end what it started in other groups.
    kill -TERM -- "-$section_group" 2>/dev/null
    wait "$section_group"
    kill -KILL -- "-$section_group" 2>/dev/null
  fi
  exit 130
}
