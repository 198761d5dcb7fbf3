"""What a host serves already, read from trees made here as the packages of Debian and Alpine leave them."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.modules.foreign_servers import left, running

STOCK = "listen=NO\n"


def write(root: Path, path: str, content: str | bytes = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content.encode() if isinstance(content, str) else content)


def debian(root: Path, path: str, packaged: str) -> None:
    """Note a file of configuration as dpkg does."""
    digest = hashlib.md5(packaged.encode(), usedforsecurity=False).hexdigest()
    text = f"Package: server\nStatus: install ok installed\nConffiles:\n /etc/other 0123\n /{path} {digest}\n\n"
    write(root, "var/lib/dpkg/status", text)


def alpine(root: Path, path: str, packaged: str) -> None:
    """Note a file of configuration as apk does."""
    folder, _, name = path.rpartition("/")
    digest = base64.b64encode(hashlib.sha1(packaged.encode(), usedforsecurity=False).digest()).decode()
    write(root, "lib/apk/db/installed", f"P:server\nV:1\nF:{folder}\nR:{name}\na:0:0:600\nZ:Q1{digest}\n\n")


@pytest.mark.parametrize("kind", ["web", "php", "database", "cache", "ftp"])
def test_an_empty_host_holds_nothing(tmp_path: Path, kind: str) -> None:
    assert left(tmp_path, kind) == []


@pytest.mark.parametrize("database", [debian, alpine])
@pytest.mark.parametrize(
    ("kind", "path"),
    [("ftp", "etc/vsftpd.conf"), ("web", "etc/nginx/nginx.conf"), ("cache", "etc/redis/redis.conf")],
)
def test_a_configuration_is_told_once_it_is_not_the_packages_own(
    tmp_path: Path, database: Callable[[Path, str, str], None], kind: str, path: str
) -> None:
    database(tmp_path, path, STOCK)
    write(tmp_path, path, STOCK)
    assert left(tmp_path, kind) == []
    write(tmp_path, path, STOCK + "local_enable=YES\n")
    assert left(tmp_path, kind) == [f"/{path} was changed"]


def test_sites_beside_the_packages_own_are_named(tmp_path: Path) -> None:
    write(tmp_path, "etc/nginx/sites-available/default")
    (tmp_path / "etc/nginx/sites-enabled").mkdir()
    (tmp_path / "etc/nginx/sites-enabled/default").symlink_to("../sites-available/default")
    write(tmp_path, "etc/nginx/http.d/default.conf")
    assert left(tmp_path, "web") == []
    write(tmp_path, "etc/nginx/sites-enabled/legacy.example.test")
    write(tmp_path, "etc/nginx/http.d/shop.conf")
    assert left(tmp_path, "web") == [
        "/etc/nginx/sites-enabled holds legacy.example.test",
        "/etc/nginx/http.d holds shop.conf",
    ]


@pytest.mark.parametrize("folder", ["etc/php/8.4/fpm/pool.d", "etc/php84/php-fpm.d"])
def test_pools_beside_the_packages_own_are_named(tmp_path: Path, folder: str) -> None:
    write(tmp_path, f"{folder}/www.conf")
    assert left(tmp_path, "php") == []
    write(tmp_path, f"{folder}/shop.conf")
    assert left(tmp_path, "php") == [f"/{folder} holds shop.conf"]


def test_databases_beside_the_servers_own_are_named(tmp_path: Path) -> None:
    for name in ("mysql", "performance_schema", "sys", "#innodb_redo"):
        (tmp_path / "var/lib/mysql" / name).mkdir(parents=True)
    write(tmp_path, "var/lib/mysql/ibdata1")
    assert left(tmp_path, "database") == []
    (tmp_path / "var/lib/mysql/shop").mkdir()
    assert left(tmp_path, "database") == ["MariaDB has databases of its own: shop"]


def test_a_cache_that_holds_data_is_told(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/redis/dump.rdb", b"REDIS0012" + bytes(80))
    assert left(tmp_path, "cache") == []
    write(tmp_path, "var/lib/redis/dump.rdb", b"REDIS0012" + bytes(4000))
    assert left(tmp_path, "cache") == ["/var/lib/redis holds data"]


def process(proc: Path, number: int, name: str, namespace: str) -> None:
    """Note a process as the kernel does."""
    write(proc, f"{number}/comm", f"{name}\n")
    (proc / str(number) / "ns").mkdir()
    (proc / str(number) / "ns/pid").symlink_to(f"pid:[{namespace}]")


def test_a_program_in_a_container_is_not_the_host_s(tmp_path: Path) -> None:
    process(tmp_path, 1, "systemd", "4026531836")
    (tmp_path / "self").symlink_to("1")
    process(tmp_path, 700, "nginx", "4026531836")
    process(tmp_path, 900, "redis-server", "4026532900")
    # One that ended meanwhile.
    (tmp_path / "901").mkdir()
    assert running(tmp_path) == {"systemd", "nginx"}


def test_it_sees_a_program_of_this_machine() -> None:
    assert Path(f"/proc/{os.getpid()}/comm").read_text().strip() in running(Path("/proc"))
