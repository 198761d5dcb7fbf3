"""What a user of the cache may do, asked of a real server, and what the role refuses before it writes anything."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.repository import ROOT, load
from tests.unit.refusing import refusal
from tests.unit.test_object_cache import users

Ask = Callable[..., str]

# Of its own keys: what the object cache sends, and other programs that cache.
ALLOWED = (
    *("PING", "SELECT 0", "INFO stats", "CLIENT ID", "CLIENT SETNAME blog"),
    *("SET blog:k 1 EX 10 NX", "SETEX blog:k 10 1", "GET blog:k", "MGET blog:k blog:l", "MSET blog:k 1 blog:l 2"),
    *("INCRBY blog:n 5", "DECRBY blog:n 1", "EXPIRE blog:k 10", "TTL blog:k", "TYPE blog:k", "EXISTS blog:k blog:l"),
    *(
        "HSET blog:h f v",
        "HSETNX blog:h g v",
        "HMGET blog:h f g",
        "HGETALL blog:h",
        "HINCRBY blog:h n 1",
        "HDEL blog:h f",
    ),
    *(
        "SADD blog:s a b c",
        "SISMEMBER blog:s a",
        "SPOP blog:s 2",
        "SMEMBERS blog:s",
        "ZADD blog:z 1 a",
        "ZCOUNT blog:z 0 9",
    ),
    *("WATCH blog:k", "UNWATCH", "MULTI", "SET blog:k 2 XX KEEPTTL", "EXEC", "DEL blog:k", "UNLINK blog:l blog:h"),
)

# What shows the keys of all, what empties the server, what holds it up or reaches other clients, and others' keys.
REFUSED = (
    *(
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "DBSIZE",
        "CLIENT TRACKING on BCAST",
        "CLIENT LIST",
        "CLIENT CACHING yes",
        "MONITOR",
    ),
    *("SUBSCRIBE blog:x", "PSUBSCRIBE *", "SUBSCRIBE __keyevent@0__:set", "PUBLISH blog:x 1", "PUBSUB CHANNELS"),
    *(
        "FLUSHDB",
        "FLUSHALL",
        "SWAPDB 0 1",
        "MOVE blog:k 1",
        "CONFIG GET *",
        "CONFIG SET maxmemory 0",
        "SHUTDOWN NOSAVE",
    ),
    *("EVAL return+1 0", "EVAL_RO return+1 0", "EVALSHA 0 0", "FCALL f 0", "FUNCTION LIST", "FUNCTION LOAD x"),
    *("SCRIPT LOAD return+1", "SCRIPT FLUSH", "SCRIPT KILL", "SORT blog:s", "SORT_RO blog:s", "LCS blog:k blog:l"),
    *("BLPOP blog:l 0", "WAIT 1 0", "XREAD BLOCK 0 STREAMS blog:x 0", "CLIENT PAUSE 1000", "CLIENT KILL ID 1"),
    *("CLIENT NO-EVICT on", "CLIENT REPLY OFF", "SAVE", "BGSAVE", "REPLICAOF NO ONE", "SLOWLOG GET"),
    *(
        "ACL LIST",
        "ACL SETUSER blog +@all",
        "OBJECT FREQ blog:k",
        "MEMORY USAGE blog:k",
        "DUMP blog:k",
        "MIGRATE h 1 blog:k 0 1",
    ),
    *("GET journal:k", "SET journal:k 1", "MGET blog:k journal:k", "DEL journal:k", "HGETALL journal:h", "EXISTS blog"),
    *("TYPE journal:k", "TTL journal:k", "EXPIRE journal:k 1", "WATCH journal:k", "GETSET journal:k 1", "GET ''"),
)


@pytest.fixture(scope="module", params=["redis-server", "valkey-server"])
def ask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Give what sends a command as the user of a site, and returns the first line of the answer."""
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not on this machine")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "acl").write_text(users(), encoding="utf-8")
    server = subprocess.Popen(
        [request.param, "--port", "0", "--unixsocket", "socket", "--save", "", "--aclfile", "acl"],
        stdout=subprocess.PIPE,
        cwd=folder,
    )
    assert server.stdout
    assert any(b"accept connections" in line for line in server.stdout), f"{request.param} ended at its start"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(folder / "socket"))
        answers = connection.makefile("rb")

        def read() -> str:
            line = answers.readline().decode().rstrip()
            if line[:1] in "$=" and line != "$-1":
                answers.read(int(line[1:]) + 2)
            elif line[:1] in "*%~>":
                for _ in range(int(line[1:]) * (2 if line[0] == "%" else 1)):
                    read()
            return line

        def send(command: str) -> str:
            words = ["" if word == "''" else word for word in command.split()]
            connection.sendall(f"*{len(words)}\r\n{''.join(f'${len(word)}\r\n{word}\r\n' for word in words)}".encode())
            return read()

        try:
            assert send("AUTH blog a-long-password") == "+OK"
            yield send
        finally:
            server.kill()
            server.communicate()


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Callable[[], socket.socket]]:
    """Give what connects to a server that has the role's limits of what clients take."""
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not on this machine")
    template = (ROOT / "roles/redis_cache/templates/redis.conf.j2").read_text(encoding="utf-8")
    limits = [line for line in template.splitlines() if line.startswith(("proto-max", "client-", "maxmemory-cl"))]
    (tmp_path / "conf").write_text("\n".join([*limits, "port 0", "unixsocket socket", 'save ""', "maxmemory 67mb"]))
    server = subprocess.Popen(["redis-server", "conf"], stdout=subprocess.PIPE, cwd=tmp_path)
    with ExitStack() as stack:
        stack.callback(server.communicate)
        stack.callback(server.kill)

        def connect() -> socket.socket:
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(20)
            connection.connect(str(tmp_path / "socket"))
            return connection

        assert server.stdout
        assert any(b"accept connections" in line for line in server.stdout)
        yield connect


def test_nobody_fills_the_memory_with_what_he_never_finishes(connected: Callable[[], socket.socket]) -> None:
    """What is sent but not complete counts to no maxmemory, and the server's limit is that of all sites."""
    connection = connected()
    connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000000\r\n")
    assert connection.recv(100).startswith(b"-ERR Protocol error: invalid bulk length")


def test_an_answer_that_nobody_takes_ends_its_own_connection_alone(connected: Callable[[], socket.socket]) -> None:
    """It is made in memory that counts to no maxmemory, and one command can ask for any number of values."""
    size = 15 * 1024 * 1024
    greedy, other = connected(), connected()
    greedy.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%b\r\n" % (size, bytes(size)))
    assert greedy.recv(100) == b"+OK\r\n"
    greedy.sendall(b"MGET" + b" k" * 40 + b"\r\n")
    taken = 0
    with suppress(ConnectionError):
        while piece := greedy.recv(1 << 20):
            taken += len(piece)
    assert taken < 40 * size
    other.sendall(b"INFO memory\r\n")
    peak = re.search(rb"used_memory_peak:(\d+)", other.recv(1 << 16))
    assert peak
    assert int(peak[1]) < 10 * size


def test_a_user_may_do_what_a_cache_does(ask: Ask) -> None:
    refused = {command: answer for command in ALLOWED if (answer := ask(command)).startswith("-")}
    assert refused == {}


@pytest.mark.parametrize("command", REFUSED)
def test_a_user_may_do_nothing_else(ask: Ask, command: str) -> None:
    answer = ask(command)
    # A server without a command says that it is unknown.
    assert answer.startswith(("-NOPERM", "-ERR unknown command", "-ERR unknown subcommand")), answer


def test_a_user_holds_nobody_up(ask: Ask) -> None:
    """A script that ran for seconds held up all sites."""
    start = time.monotonic()
    ask("EVAL while+true+do+end 0")
    assert ask("PING") == "+PONG"
    assert time.monotonic() - start < 1


def test_only_policies_that_may_drop_any_value_are_taken() -> None:
    """With another one a full cache would refuse what sites store, until somebody empties it."""
    spec = load(ROOT / "roles/redis_cache/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert all(policy.startswith("allkeys-") for policy in spec["redis_cache_maxmemory_policy"]["choices"])


def test_no_further_setting_replaces_a_variable(tmp_path: Path) -> None:
    options = {"slowlog-max-len": 10, "maxmemory-policy": "noeviction", "MaxMemory": 1, "requirepass": "x"}
    said = refusal(tmp_path, "redis_cache", redis_cache_options=options)
    assert "redis_cache_options: maxmemory-policy, MaxMemory, requirepass is not allowed" in said
    assert "use redis_cache_maxmemory_policy, redis_cache_maxmemory_mb, redis_cache_users" in said


def test_other_settings_and_policies_are_taken(tmp_path: Path) -> None:
    options = {"slowlog-max-len": 10, "maxmemory-samples": 10}
    assert (
        refusal(tmp_path, "redis_cache", redis_cache_maxmemory_policy="allkeys-lfu", redis_cache_options=options) == ""
    )
