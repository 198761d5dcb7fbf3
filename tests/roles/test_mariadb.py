from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.killing import kill_each
from tests.acceptance.machine import STACK, Machine
from tests.acceptance.waiting import wait_until
from tests.roles.services import starts_at_boot

Given = dict[str, Any]


def client(machine: Machine, given: Given, user: str, shell: str = "CLIENT") -> str:
    """Return the shell line that runs ``shell``, in which ``CLIENT`` is the database's client as a user."""
    password = next(one["password"] for one in given["mariadb_users"] if one["name"] == user)
    command = f"mariadb --batch --skip-column-names --user={user}"
    if machine.compose:
        # Over the network, as the sites' containers come.
        inside = f"export MYSQL_PWD={password}; {shell}".replace("CLIENT", f"{command} --protocol=tcp --host=mariadb")
        return f"cd {STACK} && docker compose exec -T mariadb sh -c {shlex.quote(inside)}"
    return f"export MYSQL_PWD={password}; {shell}".replace("CLIENT", command)


def ask(machine: Machine, given: Given, user: str, query: str) -> str:
    """Ask the database as a user; return the answer. Raises AssertionError with the server's own words."""
    return machine.feed(client(machine, given, user), query)


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


# What an operator may have left: another password, fewer and more privileges, no database, accounts nobody declared.
SPOILT = """
ALTER USER blog@{host} IDENTIFIED BY 'another password';
REVOKE ALL PRIVILEGES, GRANT OPTION FROM journal@{host};
GRANT SELECT ON mysql.* TO journal@{host};
DROP DATABASE journal;
CREATE USER blog@'10.9.9.9' IDENTIFIED BY 'x';
CREATE USER ''@localhost;
CREATE USER other@localhost IDENTIFIED BY 'x';
"""


def test_what_differs_of_databases_and_users_is_put_right_and_nothing_else(
    machine: Machine, given: Given, converge: Callable[..., None]
) -> None:
    host = "'%'" if machine.compose else "localhost"
    accounts = "SELECT CONCAT(User, '@', Host) FROM mysql.global_priv ORDER BY 1;"
    grants = f"SHOW GRANTS FOR journal@{host};"
    before, granted = machine.sql(accounts), machine.sql(grants)
    for line in SPOILT.format(host=host).strip().splitlines():
        machine.sql(line)
    try:
        with pytest.raises(AssertionError, match="denied"):
            ask(machine, given, "blog", "SELECT 1;")
        converge()
        assert machine.sql("SELECT User FROM mysql.global_priv WHERE User = 'other';") == ["other"]
    finally:
        machine.sql("DROP USER other@localhost;")
    assert machine.sql("SHOW DATABASES LIKE 'journal';") == ["journal"]
    assert machine.sql(accounts) == before
    assert machine.sql(grants) == granted
    for user in ("blog", "journal"):
        assert ask(machine, given, user, f"USE {user}; SELECT 1;") == "1"


def test_it_has_the_settings_it_was_given(machine: Machine, given: Given) -> None:
    (line,) = machine.sql("SELECT CONCAT(@@innodb_buffer_pool_size DIV 1048576, ' ', @@max_connections);")
    pool, connections = line.split()
    assert 0.5 < int(pool) / given["mariadb_memory_mb"] < 0.7
    assert int(connections) == given["mariadb_max_connections"]


def test_one_user_cannot_take_all_connections(machine: Machine, given: Given) -> None:
    """Half of them by default: the others go on, and who looks after the server gets in."""
    most = given["mariadb_max_connections"] // 2
    taken = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'blog';"
    hold = f"for n in $(seq {most}); do CLIENT -e 'SELECT SLEEP(120)' >/dev/null 2>&1 </dev/null & done; wait"
    machine.run(f"({client(machine, given, 'blog', hold)}) >/dev/null 2>&1 </dev/null &")
    try:
        wait_until("blog takes all that it may", lambda: machine.sql(taken) == [str(most)], timeout=60)
        with pytest.raises(AssertionError, match="max_user_connections"):
            ask(machine, given, "blog", "SELECT 1;")
        assert ask(machine, given, "journal", "SELECT 1;") == "1"
    finally:
        machine.sql("KILL USER blog;")
    wait_until("they are gone", lambda: machine.sql(taken) == ["0"], timeout=60)


def test_it_touches_no_file_for_a_client(machine: Machine, given: Given) -> None:
    """Not for a client that offers its own, nor for root."""
    load = "CLIENT --local-infile=1 --execute \"USE blog; LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE x;\""
    ask(machine, given, "blog", "USE blog; CREATE OR REPLACE TABLE x (y TEXT);")
    with pytest.raises(AssertionError, match=r"(?i)local.infile|not allowed"):
        machine.run(client(machine, given, "blog", load))
    ask(machine, given, "blog", "USE blog; DROP TABLE x;")
    with pytest.raises(AssertionError, match="secure-file-priv"):
        machine.sql("SELECT 1 INTO OUTFILE '/var/tmp/slipway-test';")


def test_it_listens_on_no_port_of_the_host(machine: Machine) -> None:
    # 3306, in the state LISTEN, as the kernel writes it.
    assert ":0CEA 0" not in machine.run("cat /proc/net/tcp /proc/net/tcp6")


def test_it_survives_the_kill_of_its_process(machine: Machine, given: Given) -> None:
    ask(machine, given, "blog", "USE blog; CREATE OR REPLACE TABLE kept (y INT); INSERT INTO kept VALUES (8);")
    kill_each(machine, "database", lambda: ask(machine, given, "blog", "USE blog; SELECT y FROM kept;") == "8")


def test_it_starts_at_boot(machine: Machine) -> None:
    assert starts_at_boot(machine, "mariadb", "mariadb")
