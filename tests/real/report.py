"""The list of what was checked. A check that fails is told at once and counted; the run goes on to the next."""

import time
from collections import Counter

from records import Change, Record, Verdict, judge, percentile

SHOWN = 8


class Report:
    """Prints each check as it is made, and knows at the end whether all held."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self._begin = time.monotonic()

    def chapter(self, title: str) -> None:
        print(f"\n-- {title} ({time.monotonic() - self._begin:.0f} s)", flush=True)

    def say(self, text: str) -> None:
        print(f"     {text}", flush=True)

    def check(self, claim: str, holds: bool, otherwise: object = "") -> bool:
        """Counts and prints whether the claim holds; `otherwise` is the evidence against it."""
        if holds:
            self.passed += 1
            print(f"ok   {claim}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL {claim}\n     {otherwise}", flush=True)
        return holds

    def judge(self, records: list[Record], changes: list[Change], first: str) -> Verdict:
        """Prints the figures of a load, and checks that nothing failed and nothing came from the wrong version."""
        verdict = judge(records, changes, first)
        for kind in sorted({record.kind for record in records}):
            self.say(_line(kind, [record for record in records if record.kind == kind], verdict.seen))
        self.check(f"0 of {len(records)} requests failed", not verdict.failed, _shorten(verdict.failed))
        self.check("0 answers came from a version that was not in force", not verdict.misplaced, _shorten(verdict.misplaced))
        return verdict

    def close(self) -> bool:
        """The closing line; True if everything held and there was something to hold."""
        print(f"\nreal model servers: {time.monotonic() - self._begin:.0f} s")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return self.failed == 0 and self.passed > 0


def _line(kind: str, records: list[Record], seen: Counter[tuple[str, str | None]]) -> str:
    times = [(record.answered - record.begin) * 1000 for record in records if record.error is None]
    versions = ", ".join(f"{count} {version or 'unnamed'}" for (of, version), count in sorted(seen.items(), key=str) if of == kind)
    figures = f"p50 {percentile(times, 0.5):.1f} p99 {percentile(times, 0.99):.1f} max {max(times, default=0):.0f} ms"
    return f"{kind:16} {len(records):6} requests: {versions}; {figures}"


def _shorten(evidence: list[str]) -> str:
    more = [f"and {len(evidence) - SHOWN} more"] if len(evidence) > SHOWN else []
    return "\n     ".join([f"{len(evidence)} in all:", *evidence[:SHOWN], *more])
