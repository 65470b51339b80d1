"""What no load generator speaks: WebSockets, and bodies whose length is not told beforehand. One thread each."""

import socket
import threading

from children import Trouble
from clients import Done

FRAME = b"x" * 200
CHUNKS = (b"c8\r\n" + FRAME + b"\r\n") * 4
END = b"0\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
TAKEN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Talker:
    """A server that echoes what comes through a WebSocket, and takes any body in chunks."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> "Talker":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=_answer_all, args=(connection,), daemon=True).start()


def _answer_all(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        text = b""
        while more := connection.recv(65536):
            text += more
            if b"upgrade: websocket" in text.lower() and b"\r\n\r\n" in text:
                connection.sendall(SWITCHED)
                while more := connection.recv(65536):
                    connection.sendall(more)
                return
            if text.endswith(END):
                connection.sendall(TAKEN)
                text = b""


def web_socket(port: int, path: str, rounds: int) -> Done:
    """So many frames there and back."""
    with _connect(port) as connection:
        fields = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: model.test\r\n{fields}\r\n\r\n".encode())
        if not _until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101 "):
            raise Trouble("the WebSocket was refused")
        for _ in range(rounds):
            connection.sendall(FRAME)
            _until(connection, FRAME)
    return Done(rounds, 0)


def chunked_uploads(port: int, path: str, rounds: int) -> Done:
    """So many requests in chunks, one after another on one connection."""
    failed = 0
    with _connect(port) as connection:
        head = f"POST {path} HTTP/1.1\r\nhost: model.test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        for _ in range(rounds):
            connection.sendall(head.encode())
            connection.sendall(CHUNKS + END)
            failed += not _until(connection, b"{}").startswith(b"HTTP/1.1 200 ")
    return Done(rounds, failed)


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _until(connection: socket.socket, end: bytes) -> bytes:
    text = b""
    while not text.endswith(end):
        more = connection.recv(65536)
        if not more:
            raise Trouble(f"the connection was closed after {text!r}")
        text += more
    return text
