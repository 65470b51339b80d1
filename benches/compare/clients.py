"""The loads: wrk and h2load from Debian, and the tool that stands in load/."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from children import Trouble
from stage import LOAD_CORES, Proxy, Stage


class Done(NamedTuple):
    """What a load came to."""

    count: int
    failed: int


SMALL = '{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'


def wrk(
    stage: Stage,
    proxy: Proxy,
    seconds: int,
    *,
    path: str,
    connections: int,
    side: str = "h1",
    post: str = "",
    close: bool = False,
) -> Done:
    """Each connection sends its next request when the answer before it has ended."""
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s"]
    if close:
        options += ["-H", "Connection: close"]
    if post:
        options += ["-s", str(_post_script(stage.directory, post))]
    scheme = "https" if side == "tls" else "http"
    said = _run("wrk", *options, f"{scheme}://{proxy.address(side)}{path}")
    count = int(_find(r"(\d+) requests in", said))
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    # wrk counts the end of a connection that it asked for itself as a read error.
    lost = sum(int(number) for index, number in enumerate(errors.groups()) if not (close and index == 1)) if errors else 0
    return Done(count, lost + (int(wrong[1]) if wrong else 0))


def h2load(
    stage: Stage, proxy: Proxy, seconds: int, *, path: str, side: str, connections: int, streams: int, more: tuple[str, ...] = ()
) -> Done:
    """HTTP/2; so many requests at once on each connection. `more` are options of h2load's own."""
    options = ["-t", "1", "-c", str(connections), "-m", str(streams), "-D", str(seconds), *more]
    scheme = "https" if side == "tls" else "http"
    said = _run("h2load", *options, f"{scheme}://{proxy.address(side)}{path}")
    done = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", said)
    statuses = re.search(r"status codes: (\d+) 2xx", said)
    if not done or not statuses:
        raise Trouble(f"h2load said nothing that can be read:\n{said}")
    # What is cut off at the end of the time is neither done nor failed.
    return Done(int(statuses[1]), max(0, int(done[1]) - int(statuses[1])))


def load(stage: Stage, proxy: Proxy, seconds: int, command: str, side: str, **options: object) -> Done:
    """The tool in load/."""
    words = [f"{name}={value}" for name, value in options.items()]
    client = stage.client(command, proxy.address(side), f"seconds={seconds}", *words)
    result = client.result()
    stage.end(client)
    return Done(result["done"], result["failed"])


def _run(*command: str) -> str:
    pinned = ["taskset", "-c", ",".join(map(str, LOAD_CORES)), *command]
    done = subprocess.run(pinned, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Trouble(f"{' '.join(command)} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise Trouble(f"no {pattern!r} in:\n{text}")
    return found[1]


def _post_script(directory: Path, body: str) -> Path:
    """wrk sends a body only by way of a script."""
    path = directory / f"post-{body}.lua"
    if path.exists():
        return path
    text = {"small": f"'{SMALL}'", "1m": 'string.rep("x", 1048576)'}[body]
    kind = "application/json" if body == "small" else "application/octet-stream"
    path.write_text(f'wrk.method = "POST"\nwrk.headers["content-type"] = "{kind}"\nwrk.body = {text}\n')
    return path
