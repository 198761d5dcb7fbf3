from __future__ import annotations

import shlex
from typing import Any

import pytest

from tests.acceptance.killing import kill_each
from tests.acceptance.machine import STACK, Machine
from tests.roles.services import starts_at_boot

Given = dict[str, Any]


def ask(machine: Machine, given: Given, user: str, query: str) -> str:
    """Ask the database as a user; return the answer. Raises AssertionError with the server's own words."""
    password = next(one["password"] for one in given["mariadb_users"] if one["name"] == user)
    client = f"mariadb --batch --skip-column-names --user={user}"
    if machine.compose:
        # Over the network, as the sites' containers come.
        inside = f"MYSQL_PWD={password} {client} --protocol=tcp --host=mariadb"
        client = f"cd {STACK} && docker compose exec -T mariadb sh -c {shlex.quote(inside)}"
    else:
        client = f"MYSQL_PWD={password} {client}"
    return machine.feed(client, query)


@pytest.mark.parametrize("user", ["blog", "journal"])
def test_a_user_may_do_all_with_its_own_database(machine: Machine, given: Given, user: str) -> None:
    queries = "CREATE OR REPLACE TABLE x (y INT); INSERT INTO x VALUES (7); SELECT y FROM x; DROP TABLE x;"
    assert ask(machine, given, user, f"USE {user}; {queries}") == "7"


@pytest.mark.parametrize("query", ["USE journal;", "CREATE DATABASE another;", "SELECT * FROM mysql.user;"])
def test_a_user_may_do_nothing_else(machine: Machine, given: Given, query: str) -> None:
    with pytest.raises(AssertionError, match=r"denied"):
        ask(machine, given, "blog", query)


def test_a_wrong_password_is_refused(machine: Machine) -> None:
    wrong: Given = {"mariadb_users": [{"name": "blog", "password": "no-password-of-anybody"}]}
    with pytest.raises(AssertionError, match=r"denied"):
        ask(machine, wrong, "blog", "SELECT 1;")


def test_there_is_no_account_without_a_password(machine: Machine) -> None:
    accounts = machine.sql("SELECT CONCAT(User, '@', Host) FROM mysql.global_priv WHERE User = '';")
    assert accounts == []
    assert machine.sql("SHOW DATABASES LIKE 'test';") == []


def test_it_has_the_settings_it_was_given(machine: Machine, given: Given) -> None:
    (line,) = machine.sql("SELECT CONCAT(@@innodb_buffer_pool_size DIV 1048576, ' ', @@max_connections);")
    pool, connections = line.split()
    assert 0.5 < int(pool) / given["mariadb_memory_mb"] < 0.7
    assert int(connections) == given["mariadb_max_connections"]


def test_it_listens_on_no_port_of_the_host(machine: Machine) -> None:
    # 3306, in the state LISTEN, as the kernel writes it.
    assert ":0CEA 0" not in machine.run("cat /proc/net/tcp /proc/net/tcp6")


def test_it_survives_the_kill_of_its_process(machine: Machine, given: Given) -> None:
    ask(machine, given, "blog", "USE blog; CREATE OR REPLACE TABLE kept (y INT); INSERT INTO kept VALUES (8);")
    kill_each(machine, "database", lambda: ask(machine, given, "blog", "USE blog; SELECT y FROM kept;") == "8")


def test_it_starts_at_boot(machine: Machine) -> None:
    assert starts_at_boot(machine, "mariadb", "mariadb")
