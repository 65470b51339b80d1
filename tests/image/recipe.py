"""Reads a Dockerfile into stages and instructions. Only what ours uses; anything else is an error, not a guess."""

import json
import shlex
from pathlib import Path
from typing import NamedTuple

KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD"}


class Instruction(NamedTuple):
    word: str
    text: str


class Copy(NamedTuple):
    """A COPY: from the build context, or from an earlier stage."""

    stage: str | None
    sources: list[str]
    target: str


class Stage(NamedTuple):
    base: str
    name: str | None
    instructions: list[Instruction]

    def the(self, word: str) -> str:
        """The text of the stage's one instruction of that kind."""
        (text,) = [instruction.text for instruction in self.instructions if instruction.word == word]
        return text

    def copies(self) -> list[Copy]:
        return [read_copy(instruction.text) for instruction in self.instructions if instruction.word == "COPY"]


def read(path: Path) -> list[Stage]:
    """All stages, in order."""
    stages: list[Stage] = []
    for word, text in _instructions(path):
        if word not in KNOWN:
            raise ValueError(f"{path.name} uses {word}, which this test cannot read")
        if word == "FROM":
            base, *rest = text.split()
            stages.append(Stage(base, rest[1] if rest else None, []))
        else:
            stages[-1].instructions.append(Instruction(word, text))
    return stages


def read_copy(text: str) -> Copy:
    words = shlex.split(text)
    stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
    if words[0].startswith("--"):
        raise ValueError(f"COPY {text}: this test does not know {words[0]}")
    return Copy(stage, words[:-1], words[-1])


def health_command(text: str) -> list[str]:
    """The program and arguments of a HEALTHCHECK in its JSON form."""
    return json.loads(text[text.index("CMD ") + len("CMD ") :])


def _instructions(path: Path) -> list[tuple[str, str]]:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word.upper(), text.strip()) for word, _, text in (line.partition(" ") for line in joined.splitlines())]
