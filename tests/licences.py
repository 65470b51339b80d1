#!/usr/bin/env python3
"""Checks the licences and the sources of all dependencies against deny.toml, from what cargo itself says of them.

It is the part of `cargo deny check` that needs no advisory database and nothing installed.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# How cargo writes the default registry, whatever mirror it is read from.
DEFAULT_REGISTRY = re.compile(r"registry\+\S+/crates\.io-index")


def needed(expression: str, allowed: set[str]) -> set[str] | None:
    """The allowed licences by which an SPDX expression can be met; None if it cannot. `/` is the old way to say OR."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    met, rest = _either(tokens, allowed)
    if rest:
        raise ValueError(f"not an SPDX expression: {expression!r}")
    return met


def _either(tokens: list[str], allowed: set[str]) -> tuple[set[str] | None, list[str]]:
    met, rest = _both(tokens, allowed)
    while rest[:1] == ["OR"]:
        other, rest = _both(rest[1:], allowed)
        met = other if met is None else met | (other or set())
    return met, rest


def _both(tokens: list[str], allowed: set[str]) -> tuple[set[str] | None, list[str]]:
    met, rest = _one(tokens, allowed)
    while rest[:1] == ["AND"]:
        other, rest = _one(rest[1:], allowed)
        met = None if met is None or other is None else met | other
    return met, rest


def _one(tokens: list[str], allowed: set[str]) -> tuple[set[str] | None, list[str]]:
    if tokens[:1] == ["("]:
        met, rest = _either(tokens[1:], allowed)
        if rest[:1] != [")"]:
            raise ValueError("unbalanced parentheses")
        return met, rest[1:]
    if not tokens or tokens[0] in {")", "OR", "AND", "WITH"}:
        raise ValueError("a licence is missing")
    name, rest = tokens[0], tokens[1:]
    if rest[:1] == ["WITH"]:
        name, rest = f"{name} WITH {rest[1]}", rest[2:]
    return ({name} if name in allowed else None), rest


def prove_the_reader() -> None:
    """The reader of expressions has to be right before its silence means anything."""
    allowed = {"MIT", "Apache-2.0", "Unicode-3.0"}
    for expression, met in [
        ("MIT", {"MIT"}),
        ("GPL-3.0-only", None),
        ("MIT OR GPL-3.0-only", {"MIT"}),
        ("MIT AND GPL-3.0-only", None),
        ("MIT/Apache-2.0", {"MIT", "Apache-2.0"}),
        ("(MIT OR GPL-2.0-only) AND Unicode-3.0", {"MIT", "Unicode-3.0"}),
        ("Apache-2.0 WITH LLVM-exception", None),
        ("GPL-2.0-only OR MIT AND Unicode-3.0", {"MIT", "Unicode-3.0"}),
    ]:
        if (got := needed(expression, allowed)) != met:
            raise AssertionError(f"{expression}: {got} instead of {met}")


def packages(manifest: Path) -> list[dict]:
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", str(manifest)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]


def complaints(package: dict, rules: dict, used: set[str]) -> list[str]:
    """What is wrong with one package; adds the licences that it stands on to `used`."""
    found, label = [], f"{package['name']} {package['version']}"
    met = needed(package["license"] or "", set(rules["licenses"]["allow"])) if package["license"] else None
    if met is None:
        found.append(f"{label}: licence {package['license']!r} is not allowed by deny.toml")
    used |= met or set()
    source = package["source"]
    if source is None and Path(package["manifest_path"]).is_relative_to(ROOT):
        return found
    if not DEFAULT_REGISTRY.fullmatch(source or ""):
        found.append(f"{label}: comes from {source or package['manifest_path']}, not from the default registry")
    return found


def main() -> int:
    prove_the_reader()
    rules, used, found = tomllib.loads((ROOT / "deny.toml").read_text()), set(), []
    tree = packages(ROOT / "Cargo.toml")
    for package in tree:
        found += complaints(package, rules, used)
    found += [f"deny.toml allows {name}, which no dependency needs" for name in set(rules["licenses"]["allow"]) - used]
    for complaint in found:
        print(f"FAIL {complaint}")
    names = [package["name"] for package in tree]
    twice = sorted({name for name in names if names.count(name) > 1})
    print(f"{len(tree)} packages, {len(used)} licences, {len(found)} complaints; in several versions: {', '.join(twice) or 'none'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
