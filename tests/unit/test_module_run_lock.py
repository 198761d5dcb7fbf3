"""A host belongs to one run at a time, as long as that run's connection lasts, by real connections of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from plugins.modules.run_lock import connections, own_connection, release, take

PROC = Path("/proc")


class Link:
    """An established connection; the socket's inode stands for the one that a run came by."""

    def __init__(self, stack: ExitStack) -> None:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.near = stack.enter_context(socket.create_connection(server.getsockname()))
        self.far = stack.enter_context(server.accept()[0])
        self.inode = str(os.fstat(self.near.fileno()).st_ino)

    def cut(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def links() -> Iterator[list[Link]]:
    with ExitStack() as stack:
        yield [Link(stack), Link(stack)]


def test_a_host_that_nobody_has_is_taken_and_stays_ones_own(tmp_path: Path, links: list[Link]) -> None:
    lock = tmp_path / "lock"
    for _ in range(2):
        assert take(lock, "a@one", links[0].inode, connections(PROC)) == ""


def test_another_connection_is_told_who_has_it(tmp_path: Path, links: list[Link]) -> None:
    lock = tmp_path / "lock"
    take(lock, "a@one", links[0].inode, connections(PROC))
    assert take(lock, "b@two", links[1].inode, connections(PROC)).startswith("a@one at 127.0.0.1, since 20")
    # So is one that came by no connection at all.
    assert take(lock, "b@two", None, connections(PROC)).startswith("a@one")
    release(lock, "b@two")
    assert take(lock, "b@two", links[1].inode, connections(PROC))


def test_a_host_that_was_given_back_is_free(tmp_path: Path, links: list[Link]) -> None:
    lock = tmp_path / "lock"
    take(lock, "a@one", links[0].inode, connections(PROC))
    release(lock, "a@one")
    assert take(lock, "b@two", links[1].inode, connections(PROC)) == ""


def test_the_lock_ends_with_its_connection(tmp_path: Path, links: list[Link]) -> None:
    lock = tmp_path / "lock"
    take(lock, "a@one", links[0].inode, connections(PROC))
    links[0].cut()
    assert take(lock, "b@two", links[1].inode, connections(PROC)) == ""


def test_a_lock_that_was_written_by_half_is_none(tmp_path: Path, links: list[Link]) -> None:
    lock = tmp_path / "lock"
    lock.write_text('{"inode": "1')
    assert take(lock, "a@one", links[0].inode, connections(PROC)) == ""
    assert take(lock, "b@two", links[1].inode, connections(PROC))


def test_the_connection_is_that_of_the_nearest_process_above(links: list[Link]) -> None:
    """As of sshd, above a shell and sudo."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        known = {link.inode: "127.0.0.1" for link in links}
        assert own_connection(PROC, child.pid, known) in known
        assert own_connection(PROC, child.pid, {}) is None
        child.communicate(b"\n")


def test_its_owner_may_come_by_another_connection(tmp_path: Path, links: list[Link]) -> None:
    """The first one still stands where the owner's machine changed its network."""
    lock = tmp_path / "lock"
    take(lock, "a@one", links[0].inode, connections(PROC))
    assert take(lock, "a@one", links[1].inode, connections(PROC)) == ""
