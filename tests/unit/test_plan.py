"""What each role is told on a host, and what the host must have: the functions behind the action plan."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils import plan
from tests.repository import COMPONENTS, ROLES, load

EVERY = ("docker_hosts", "database", "cache", "php", "static", "web", "ftp")
SETTINGS: dict[str, Any] = {
    name: value for role in ROLES for name, value in (load(role / "defaults/main.yml") or {}).items()
}
SITES: list[dict[str, Any]] = [
    {
        "name": "blog",
        "type": "wordpress",
        "domain": "blog.example.test",
        "title": "Blog",
        "admin": {"name": "captain", "email": "captain@example.test"},
        "memory_mb": 512,
    },
    {"name": "docs", "type": "static", "domain": "docs.example.test", "source": {"folder": "/srv"}},
    {
        "name": "manual",
        "type": "static",
        "domain": "manual.example.test",
        "source": {"folder": "/srv"},
        "server": "http-server",
    },
]
SECRETS = ("cache_password", "database_password", "ftp_password", "salt_seed", "wordpress_captain")
MADE = {f"blog_{name}": f"secret of {name}" for name in SECRETS}
ADDRESSES = {"vm1": "10.0.0.1", "vm2": "10.0.0.2", "back": "10.0.0.9"}


def host(
    name: str = "vm1", provider: str = "native", members: dict[str, list[str]] | None = None, **settings: Any
) -> plan.Host:
    """Return a host, by default the only one, with the roles' defaults but for some settings."""
    hosts = members or {group: [name] for group in EVERY}
    return plan.Host(
        name=name,
        groups=frozenset(group for group, names in hosts.items() if name in names),
        members=hosts,
        provider=provider,
        address="198.51.100.1",
        state_dir="/state",
        private_address=ADDRESSES.__getitem__,
        reached=lambda other: {"name": other},
        settings=SETTINGS | settings,
    )


def told(one: plan.Host) -> plan.Told:
    return plan.told(one, plan.sites_of(SITES, MADE, one))


def figures(one: plan.Host, **settings: Any) -> dict[str, Any]:
    sites = plan.sites_of(SITES, MADE, one)
    return plan.figures(
        one, sites, plan.told(one, sites), COMPONENTS, {"__php_fpm_wordpress_opcache_mb": 128, **settings}
    )


def test_every_variable_of_the_plan_is_one_of_its_role() -> None:
    for role, names in plan.VARIABLES.items():
        (folder,) = (path for path in ROLES if path.name == role)
        options = load(folder / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
        assert set(names) <= options.keys()
        # Used alone, a role has a value for each.
        assert set(names) <= load(folder / "defaults/main.yml").keys()


def test_a_host_is_told_of_the_roles_of_its_groups_alone() -> None:
    assert set(told(host())) == set(plan.VARIABLES)
    assert set(told(host(members={"static": ["vm1"], "web": ["vm1"]}))) == {
        "host_firewall",
        "static_site",
        "nginx_tls",
        "tls_certificate",
    }


def test_the_group_of_nginx_in_the_stack_reaches_all_who_serve_it() -> None:
    """Keys, files and the sockets of PHP are opened to the one group that nginx has."""
    stack = told(host(provider="compose", nginx_tls_container_uid=20100))
    assert stack["php_fpm_wordpress"]["php_fpm_wordpress_socket_gid"] == 20100
    assert stack["tls_certificate"]["tls_certificate_key_gid"] == 20100
    assert stack["static_site"]["static_site_gid"] == 20100
    packages = told(host(nginx_tls_container_uid=20100))
    assert packages["tls_certificate"]["tls_certificate_key_gid"] == 0


def test_what_is_moved_from_a_default_moves_for_every_role() -> None:
    moved = host(
        tls_certificate_dir="/keys", static_site_dir="/files", static_site_server="http-server",
        php_fpm_wordpress_replicas=3, nginx_tls_https_port=8443, provider="compose",
    )  # fmt: skip
    plans = told(moved)
    assert plans["nginx_tls"]["nginx_tls_certificate_dir"] == plans["ftp"]["ftp_certificate_dir"] == "/keys"
    blog, docs, _ = plans["nginx_tls"]["nginx_tls_sites"]
    assert len(blog["upstreams"]) == 3
    assert docs["type"] == "proxy"
    assert plans["php_fpm_wordpress"]["php_fpm_wordpress_sites"][0]["url"] == "https://blog.example.test:8443"
    (folder,) = (
        site["root"]
        for site in told(host(static_site_dir="/files"))["nginx_tls"]["nginx_tls_sites"]
        if site["name"] == "docs"
    )
    assert folder.startswith("/files/")


def test_on_one_host_sockets_serve_and_nothing_listens() -> None:
    one = told(host())
    assert one["mariadb"]["mariadb_bind_address"] == one["redis_cache"]["redis_cache_bind_address"] == ""
    assert [user["host"] for user in one["mariadb"]["mariadb_users"]] == ["localhost"]
    (site,) = one["php_fpm_wordpress"]["php_fpm_wordpress_sites"]
    assert site["database"]["host"] == "localhost:/run/mysqld/mysqld.sock"
    assert site["cache"]["path"] == one["redis_cache"]["redis_cache_socket"]
    assert one["php_fpm_wordpress"]["php_fpm_wordpress_groups"] == [one["redis_cache"]["redis_cache_socket_group"]]


APART = {"php": ["vm1", "vm2"], "web": ["vm1", "vm2"], "database": ["back"], "cache": ["back"]}


def test_database_and_cache_apart_let_in_the_hosts_of_php_alone() -> None:
    back = told(host("back", members=APART))
    assert set(back) == {"mariadb", "redis_cache", "host_firewall"}
    assert back["mariadb"]["mariadb_clients"] == back["redis_cache"]["redis_cache_clients"] == ["10.0.0.1", "10.0.0.2"]
    assert back["mariadb"]["mariadb_bind_address"] == "10.0.0.9"
    assert [user["host"] for user in back["mariadb"]["mariadb_users"]] == ["10.0.0.1", "10.0.0.2"]
    front = told(host("vm2", members=APART))
    (site,) = front["php_fpm_wordpress"]["php_fpm_wordpress_sites"]
    assert site["database"]["host"] == site["cache"]["host"] == "10.0.0.9"
    assert front["php_fpm_wordpress"]["php_fpm_wordpress_groups"] == []
    assert figures(host("vm2", members=APART))["__slipway_summary_host"]["backends"]["database"] == {"name": "back"}
    assert {entry["variable"] for entry in figures(host("back", members=APART))["__slipway_ports"]} == {
        "mariadb_bind_address",
        "redis_cache_bind_address",
    }


def test_a_database_without_clients_needs_no_group_of_php() -> None:
    alone = told(host(members={"database": ["vm1"]}))
    assert alone["mariadb"]["mariadb_users"] == []
    assert alone["mariadb"]["mariadb_bind_address"] == ""


@pytest.mark.parametrize(("provider", "opcache"), [("native", 128), ("compose", 0)])
def test_memory_adds_up(provider: str, opcache: int) -> None:
    sizes: dict[str, Any] = {
        "mariadb_memory_mb": 1000, "redis_cache_memory_mb": 100, "nginx_tls_memory_mb": 10, "ftp_memory_mb": 1,
        "static_site_memory_mb": 50,
    }  # fmt: skip
    needed = figures(host(provider=provider, **sizes))["__slipway_memory_mb"]
    # One static site has a server of its own.
    assert needed == plan.SYSTEM_MEMORY_MB + 1000 + 100 + 10 + 1 + 50 + 512 + opcache


def test_disk_is_as_the_inventory_says() -> None:
    assert figures(host(), slipway_disk_min_mb=7)["__slipway_disk_mb"] == 7
    assert figures(host())["__slipway_disk_mb"] < figures(host(provider="compose"))["__slipway_disk_mb"]
    for provider in ("native", "compose"):
        assert sum(figures(host(provider=provider))["__slipway_disk_parts"].values()) == pytest.approx(1)


def test_ports_are_those_that_are_set() -> None:
    found = figures(host(nginx_tls_https_port=8443, ftp_port=2121))
    assert {entry["variable"]: entry["port"] for entry in found["__slipway_ports"]} == {
        "nginx_tls_https_port": 8443, "nginx_tls_http_port": 80, "ftp_port": 2121,
    }  # fmt: skip
    assert found["__slipway_port_ranges"][0]["variable"] == "ftp_passive_ports"
    assert figures(host(members={"static": ["vm1"]}))["__slipway_ports"] == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, []),
        ({"ftp_port": 443}, ["ftp_port: 443", "nginx_tls_https_port"]),
        ({"nginx_tls_https_port": 80}, ["nginx_tls_http_port: 80", "nginx_tls_https_port"]),
        ({"nginx_tls_http_port": 21120}, ["ftp_passive_ports: 21100 to 21149", "nginx_tls_http_port"]),
    ],
    ids=["none", "two ports", "of one server", "in a range"],
)
def test_no_two_are_the_same(given: dict[str, Any], named: list[str]) -> None:
    clashes = figures(host(**given))["__slipway_port_clashes"]
    assert len(clashes) == (1 if named else 0)
    assert [word for word in named if word not in clashes[0]] == []


def opened(one: plan.Host) -> dict[str, tuple[Any, list[str]]]:
    """Return the ports that the firewall of a host leaves open, by what sets them, and for whom."""
    return {
        entry["comment"]: (entry.get("port") or (entry["first"], entry["last"]), entry["sources"])
        for entry in told(one)["host_firewall"]["host_firewall_open"]
    }


@pytest.mark.parametrize("provider", ["native", "compose"])
def test_the_firewall_opens_what_a_host_serves(provider: str) -> None:
    assert opened(host(provider=provider, nginx_tls_https_port=8443, ftp_passive_ports=[3000, 3009])) == {
        "nginx_tls_https_port": (8443, []),
        "nginx_tls_http_port": (80, []),
        "ftp_port": (21, []),
        "ftp_passive_ports": ((3000, 3009), []),
    }


def test_the_firewall_opens_database_and_cache_to_their_clients_alone() -> None:
    members = {group: ["vm1", "vm2"] for group in EVERY if group not in ("database", "cache")}
    members |= {"database": ["back"], "cache": ["back"]}
    assert opened(host("back", members=members)) == {
        "mariadb_bind_address": (3306, ["10.0.0.1", "10.0.0.2"]),
        "redis_cache_bind_address": (6379, ["10.0.0.1", "10.0.0.2"]),
    }


def test_sites_are_confined_as_users_where_they_are_no_containers() -> None:
    (uids,) = {tuple(told(host())["host_firewall"]["host_firewall_confined_uids"])}
    assert len(uids) == len(SITES)
    assert told(host(provider="compose"))["host_firewall"]["host_firewall_confined_uids"] == []


@pytest.mark.parametrize("given", [[], [21100], [1, 2, 3]])
def test_what_a_role_refuses_with_its_own_words_passes_the_plan(given: list[int]) -> None:
    assert figures(host(ftp_passive_ports=given))["__slipway_ports"] != []


@pytest.mark.parametrize("given", ["plenty", None, [4096]])
def test_disk_that_is_no_number_is_refused_by_name(given: Any) -> None:
    with pytest.raises(ValueError, match=r"slipway_disk_min_mb: .* is not allowed"):
        figures(host(), slipway_disk_min_mb=given)


def test_no_secret_is_left_in_what_is_shown() -> None:
    keys: frozenset[str] = frozenset()
    for role in ROLES:
        keys |= plan.secret_keys(load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"])
    one = told(host())
    assert "secret of" in str(one)
    masked = plan.masked(one, keys)
    assert "secret of" not in str(masked)
    salts = one["php_fpm_wordpress"]["php_fpm_wordpress_sites"][0]["salts"]
    assert not [salt for salt in salts.values() if salt in str(masked)]
    # All else is as it was.
    assert masked["nginx_tls"] == one["nginx_tls"]


def test_programs_that_listen_are_known_by_provider() -> None:
    found = plan.programs(COMPONENTS)
    assert found[""] == []
    assert "nginx" in found["native"]
    assert "docker-proxy" in found["compose"]
    assert not set(found["native"]) & set(found["compose"])
