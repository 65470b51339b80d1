"""Whether the proxies do the same work on heads: what the origin is sent and what the client gets is to have the same
fields, whichever of them is in between. A peer that passes heads on as they are is compared with a proxy that does more."""

import subprocess
import time
from collections import Counter
from typing import NamedTuple

from children import Trouble
from stage import OURS, SIDES, Proxy, Stage

HOST = "model.test"
# The prefixes are those by which Verdigris knows its services.
PATHS = {side: {"model": "/model/head", "h2h2": "/h2c/head"}.get(side, "/head") for side in SIDES}
WAIT_SECONDS = 20

# Fields that may differ.
NOT_COMPARED = {
    "connection": "belongs to one connection, and is the wire's",
    "keep-alive": "belongs to one connection, and is the wire's",
    "transfer-encoding": "belongs to one connection, and is the wire's",
    "te": "belongs to one connection; nginx as a gRPC proxy writes it",
    "x-envoy-external-address": "Envoy at the edge writes it, whatever is configured",
    "server": "nginx and Envoy write their own name over the origin's, Verdigris and HAProxy pass on what there is",
}
# Fields whose value is to be the same too. Not `X-Forwarded-For`: for loopback Envoy writes another address of the machine.
SAME_VALUE = {"host", "x-forwarded-proto", "x-forwarded-host", "x-verdigris-slot"}


class Seen(NamedTuple):
    """The fields of one exchange: names in lower case, with the value where that counts. A field that comes twice is two."""

    by_origin: Counter[str]
    by_client: Counter[str]


def check(stage: Stage, proxies: list[Proxy]) -> None:
    """Asks each proxy once on each side; trouble if a peer writes other heads than Verdigris does there."""
    ours = next((proxy for proxy in proxies if proxy.name == OURS), None)
    if ours is None:
        return
    for side in SIDES:
        expected = _ask(stage, ours, side)
        for peer in proxies:
            found = _ask(stage, peer, side)
            problems = [
                *_differences("the origin", expected.by_origin, found.by_origin),
                *_differences("the client", expected.by_client, found.by_client),
            ]
            if problems:
                told = f"{peer.name} does other work than {OURS} on side {side!r}: {'; '.join(problems)}"
                raise Trouble(f"{told}. Mend conf/, or compare with --plain-peers.")


def _differences(who: str, expected: Counter[str], found: Counter[str]) -> list[str]:
    said = (("lacks", expected - found), ("gets besides", found - expected))
    return [f"{who} {verb} {', '.join(sorted(fields.elements()))}" for verb, fields in said if fields]


def _ask(stage: Stage, proxy: Proxy, side: str) -> Seen:
    """One request, again until the proxy takes the origin for alive."""
    kind = {"h2": ["--http2-prior-knowledge"], "h2h2": ["--http2-prior-knowledge"]}.get(side, ["--http1.1"])
    scheme = "https" if side == "tls" else "http"
    url = f"{scheme}://{proxy.address(side)}{PATHS[side]}"
    options = ["--silent", "--show-error", "--include", "--insecure", "--noproxy", "*", *kind]
    command = ["curl", *options, "--header", f"Host: {HOST}", url]
    begin = time.monotonic()
    while True:
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        head, _, body = said.stdout.replace("\r\n", "\n").partition("\n\n")
        if " 200" in head.partition("\n")[0]:
            return Seen(_fields(body), _fields(head))
        if time.monotonic() - begin > WAIT_SECONDS:
            raise Trouble(f"{proxy.name} on side {side!r} does not pass on {url}: {said.stderr}{head}\n{proxy.process(side).tail()}")
        time.sleep(0.1)


def _fields(head: str) -> Counter[str]:
    pairs = (line.partition(":") for line in head.splitlines()[1:] if line)
    named = ((name.lower(), value.strip()) for name, _, value in pairs)
    compared = ((name, value) for name, value in named if name not in NOT_COMPARED)
    return Counter(f"{name}: {value}" if name in SAME_VALUE else name for name, value in compared)
