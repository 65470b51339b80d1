"""What the load saw, and the judge who says whether it may be so. Nothing here touches a process or the network."""

import json
from collections import Counter
from pathlib import Path
from typing import Iterable, NamedTuple


class Record(NamedTuple):
    """One request. Times are of the machine's monotonic clock, which all processes share, in seconds."""

    kind: str
    begin: float
    # When the whole answer was there; for a stream, its first message.
    answered: float
    end: float
    # None if there was no answer, or none that could name its version.
    version: str | None
    error: str | None


class Change(NamedTuple):
    """One switch or rollback that was accepted: when the command was called, and when it returned."""

    version: str
    called: float
    returned: float


class Verdict(NamedTuple):
    failed: list[str]
    misplaced: list[str]
    # Number of requests by kind of load and version.
    seen: Counter[tuple[str, str | None]]
    # Requests that were in flight while a change was made.
    spanning: int


def allowed(record: Record, changes: list[Change], first: str) -> set[str]:
    """The versions that may have answered: the one in force when the request began, and any whose switch was under way.

    A change that returned before the request began leaves only its own version. One that was called before the answer
    came and returned after the request began leaves both.
    """
    versions = {first}
    for change in changes:
        if change.returned <= record.begin:
            versions = {change.version}
        elif change.called < record.answered:
            versions.add(change.version)
    return versions


def judge(records: Iterable[Record], changes: list[Change], first: str) -> Verdict:
    """Failures, answers of a version that was not in force, and counts."""
    verdict = Verdict([], [], Counter(), 0)
    spanning = 0
    for record in records:
        verdict.seen[record.kind, record.version] += 1
        legal = allowed(record, changes, first)
        if record.error is not None:
            verdict.failed.append(f"{record.kind} at {record.begin:.3f}: {record.error}")
        elif record.version is not None and record.version not in legal:
            verdict.misplaced.append(f"{record.kind} at {record.begin:.3f}: {record.version} instead of {sorted(legal)}")
        spanning += any(record.begin < change.returned and change.called < record.end for change in changes)
    return verdict._replace(spanning=spanning)


def read_records(path: Path) -> list[Record]:
    """Reads what a load process wrote."""
    return [Record(*json.loads(line)) for line in path.read_text().splitlines()]


def write_records(path: Path, records: Iterable[Record]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of the values lies; 0 of none."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0
