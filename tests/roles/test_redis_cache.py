from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.killing import kill_each
from tests.acceptance.machine import Machine
from tests.roles.services import is_enabled, starts_at_boot

Given = dict[str, Any]
# What the service of each flavor is called, by one distribution or the other.
SERVICES = {"redis": ("redis-server", "redis"), "valkey": ("valkey-server", "valkey")}


def ask(machine: Machine, given: Given, user: str, *commands: str) -> list[str]:
    """Send commands to the cache as a user; return the answers."""
    password = next(one["password"] for one in given["redis_cache_users"] if one["name"] == user)
    first, *answers = machine.ask_cache(f"AUTH {user} {password}", *commands).splitlines()
    assert first == "OK", first
    return [answer for answer in answers if answer]


@pytest.mark.parametrize("user", ["blog", "journal"])
def test_a_user_reads_what_it_wrote(machine: Machine, given: Given, user: str) -> None:
    assert ask(machine, given, user, f"SET {user}:greeting hello", f"GET {user}:greeting") == ["OK", "hello"]


def test_a_user_sees_no_other_s_keys(machine: Machine, given: Given) -> None:
    assert ask(machine, given, "journal", "SET journal:secret x") == ["OK"]
    seen = ("GET journal:secret", "SET journal:secret y", "SCAN 0", "RANDOMKEY", "DBSIZE", "CLIENT TRACKING on BCAST")
    for command in (*seen, "SUBSCRIBE journal:secret", "EVAL return+1 0", "FLUSHALL", "CONFIG GET *"):
        (answer,) = ask(machine, given, "blog", command)
        assert answer.startswith("NOPERM"), f"{command}: {answer}"


def test_nobody_comes_in_without_a_password(machine: Machine) -> None:
    assert "NOAUTH" in machine.ask_cache("GET blog:greeting")


def test_it_keeps_to_its_memory_and_writes_nothing_down(machine: Machine, given: Given) -> None:
    info = ask(machine, given, "blog", "INFO memory", "INFO persistence")
    assert f"maxmemory:{given['redis_cache_maxmemory_mb'] * 1024 * 1024}" in info
    assert "maxmemory_policy:allkeys-lru" in info
    assert "aof_enabled:0" in info


def test_it_listens_on_no_port_of_the_host(machine: Machine) -> None:
    # 6379, in the state LISTEN, as the kernel writes it.
    assert ":18EB 0" not in machine.run("cat /proc/net/tcp /proc/net/tcp6")


def test_no_password_lies_about_in_the_clear(machine: Machine, given: Given) -> None:
    for user in given["redis_cache_users"]:
        found = machine.run(f"grep -rlF {user['password']} /etc /opt/slipway /srv 2>/dev/null || true")
        assert found == "", f"a password in the clear in {found}"


def test_it_survives_the_kill_of_its_process(machine: Machine, given: Given) -> None:
    kill_each(machine, "cache", lambda: ask(machine, given, "blog", "PING") == ["PONG"])


def test_it_starts_at_boot(machine: Machine) -> None:
    assert starts_at_boot(machine, "redis", "redis-server", "redis", "valkey-server", "valkey")


# Reached by another host, which has no part in the test.
REACHED = {"redis_cache_bind_address": "127.0.0.1", "redis_cache_clients": ["192.0.2.1"]}


def flavor(machine: Machine) -> str:
    """Return which program is the cache; there is one."""
    (process,) = machine.main_processes("cache")
    return next(name for name in SERVICES if any(name in own for own in process.names))


def let_in(machine: Machine) -> str:
    """Return the kernel's tables of ours and the files that they are read from."""
    return machine.run("nft list tables 2>/dev/null | grep slipway; ls /etc/slipway/admit 2>/dev/null || true")


def test_who_reached_it_is_forgotten_when_nobody_does(machine: Machine, converge: Callable[..., None]) -> None:
    if machine.compose:
        pytest.skip("no other host reaches the stack's cache")
    converge(**REACHED)
    before = let_in(machine)
    assert "table inet slipway_" in before
    # Somebody's own rules, loaded anew, take ours away: until the next run everybody is let in.
    machine.run("nft flush ruleset")
    assert let_in(machine) != before
    converge(**REACHED)
    assert let_in(machine) == before
    converge()
    assert let_in(machine) == ""


def test_the_other_flavor_takes_its_place(machine: Machine, given: Given, converge: Callable[..., None]) -> None:
    if machine.host.system_info.release.startswith("12"):
        pytest.skip("Debian 12 has no Valkey")
    first = flavor(machine)
    (second,) = SERVICES.keys() - {first}
    for now, before, told in ((second, first, {"redis_cache_flavor": second, **REACHED}), (first, second, {})):
        converge("--check", **told)
        assert flavor(machine) == before
        converge(**told)
        assert flavor(machine) == now
        assert ask(machine, given, "blog", "SET blog:flavor x", "GET blog:flavor") == ["OK", "x"]
        assert starts_at_boot(machine, "redis", *SERVICES[now])
        assert machine.compose or not is_enabled(machine, *SERVICES[before])
    # Who reached the one that is gone is forgotten with it.
    assert let_in(machine) == ""
