"""What everything that starts servers needs: ports that nothing else takes, and children that end with their parent."""

import ctypes
import random
import socket

_PR_SET_PDEATHSIG = 1
# Loaded here, since little is safe between fork and exec.
_LIBC = ctypes.CDLL(None)


class Trouble(Exception):
    """It cannot go on: something did not start, or did not end."""


class Ports:
    """Hands out free ports below the range from which the kernel takes clients' ports.

    A load of thousands of clients would otherwise take one before its server does, or before it is started again.
    """

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def take(self) -> int:
        for _ in range(1000):
            port = random.randint(20_000, 32_000)
            if port not in self._taken and _is_free(port):
                self._taken.add(port)
                return port
        raise Trouble("no free port between 20000 and 32000")


def die_with_parent(signal_number: int) -> None:
    """To be called in a child before its program begins: that signal ends it when its parent ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal_number)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
