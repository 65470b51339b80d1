"""The admin API, as far as the measurements need it."""

import http.client
import json
import re
import time

from children import Trouble



def ask(port: int, method: str, path: str, body: object = None) -> bytes:
    """One request; anything but 2xx is trouble."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {"content-type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status // 100 != 2:
        raise Trouble(f"{method} {path} answered {answer.status}: {said.decode(errors='replace')[:500]}")
    return said


def timed(port: int, method: str, path: str, body: object = None) -> float:
    """Milliseconds until the answer had come whole."""
    begin = time.perf_counter()
    ask(port, method, path, body)
    return (time.perf_counter() - begin) * 1e3


def connections_by_worker(port: int) -> list[int]:
    page = ask(port, "GET", "/metrics").decode()
    return [int(float(value)) for value in re.findall(r'^verdigris_client_connections\{worker="\d+"\} (\S+)$', page, re.M)]


def wait_until_healthy(port: int, seconds: float = 120) -> None:
    """Waits until nearly every endpoint is healthy: of tens of thousands on a busy machine a few are always being asked
    again."""
    begin = time.monotonic()
    while True:
        services = json.loads(ask(port, "GET", "/v1/services"))["services"]
        slots = [slot for service in services for slot in service["slots"].values()]
        health = [endpoint["health"] for slot in slots for endpoint in slot["endpoints"]]
        missing = sum(word != "healthy" for word in health)
        if missing <= len(health) // 100:
            return
        if time.monotonic() - begin > seconds:
            raise Trouble(f"{missing} of {len(health)} endpoints are not healthy after {seconds:g} s")
        time.sleep(0.2 + len(health) / 10_000)
