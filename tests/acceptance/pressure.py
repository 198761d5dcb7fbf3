"""Requests that are large, slow or many, within bounds: what a stranger may send without a login."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from tests.acceptance.machine import STACK, Machine
from tests.acceptance.web import Client, connect

MB = 1_000_000
PIECE = 256 * 1024  # bytes, what is sent or read at a time


class _Pace:
    """Keeps a transfer at so many bytes a second."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self.start = time.monotonic()
        self.bytes = 0

    def moved(self, size: int) -> None:
        self.bytes += size
        time.sleep(max(0.0, self.bytes / self.per_second - (time.monotonic() - self.start)))


def upload(client: Client, path: str, size: int, per_second: int) -> int:
    """Send a body of this size; return the status of the answer. Raises OSError where the connection breaks."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {client.name}\r\nConnection: close\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    )
    with connect(client.site, client.context(), client.name) as secure:
        secure.settimeout(120)
        secure.sendall(head.encode())
        pace = _Pace(per_second)
        while pace.bytes < size:
            piece = bytes(min(PIECE, size - pace.bytes))
            secure.sendall(piece)
            pace.moved(len(piece))
        return int(secure.recv(4096).split()[1])


def download(client: Client, path: str, per_second: int) -> int:
    """Take an answer slowly; return its bytes, its head among them. Raises OSError where the connection breaks."""
    with connect(client.site, client.context(), client.name) as secure:
        secure.settimeout(120)
        secure.sendall(f"GET {path} HTTP/1.0\r\nHost: {client.name}\r\n\r\n".encode())
        pace = _Pace(per_second)
        while piece := secure.recv(PIECE):
            pace.moved(len(piece))
        return pace.bytes


@contextmanager
def idle(client: Client, count: int) -> Iterator[list[ssl.SSLSocket]]:
    """Hold connections that ask for nothing; the server may close some of them."""
    context = client.context()
    with ExitStack() as stack, ThreadPoolExecutor(16) as pool:

        def one(_: int) -> ssl.SSLSocket | None:
            try:
                return connect(client.site, context, client.name)
            except OSError:
                return None

        made = [found for found in pool.map(one, range(count)) if found]
        for secure in made:
            stack.callback(secure.close)
        yield made


def is_open(secure: ssl.SSLSocket) -> bool:
    """Tell whether the other side has not closed a connection that nothing was asked on."""
    secure.settimeout(0.01)
    try:
        return bool(secure.recv(1))
    except (TimeoutError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def served_meanwhile(client: Client, work: Sequence[Callable[[], object]]) -> tuple[list[object], list[int]]:
    """Do this at the same time; return what each part returned or raised, and how a site answered meanwhile."""
    statuses: list[int] = []

    def attempt(part: Callable[[], object]) -> object:
        try:
            return part()
        except OSError as error:
            return error

    with ThreadPoolExecutor(len(work)) as pool:
        running = [pool.submit(attempt, part) for part in work]
        while not all(one.done() for one in running):
            try:
                statuses.append(client.get("/").status)
            except (TimeoutError, OSError):
                statuses.append(0)
            time.sleep(0.2)
    return [one.result() for one in running], statuses


def deaths(machine: Machine) -> tuple[int, int]:
    """Return how often the container of nginx was started again, and how many workers were killed."""
    if not machine.compose:
        return 0, int(machine.run("grep -c 'exited on signal 9' /var/log/nginx/error.log || true") or 0)
    container = f"cd {STACK} && docker inspect --format '{{{{.RestartCount}}}}' $(docker compose ps --quiet nginx)"
    logged = f"cd {STACK} && docker compose logs nginx 2>&1 | grep -c 'exited on signal 9' || true"
    return int(machine.run(container)), int(machine.run(logged) or 0)
