"""What each role is told of the sites: who serves whom, and that the halves fit together."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.filter import slipway_roles as roles
from plugins.filter.slipway_sites import complete_sites, secret_names

SITES: list[dict[str, Any]] = [
    {
        "name": "blog",
        "type": "wordpress",
        "domain": "blog.example.test",
        "aliases": ["www.blog.example.test"],
        "title": "Blog",
        "admin": {"name": "captain", "email": "captain@example.test"},
        "replicas": 2,
    },
    {
        "name": "docs",
        "type": "static",
        "domain": "docs.example.test",
        "source": {"folder": "/a"},
    },
    {
        "name": "manual",
        "type": "static",
        "domain": "manual.example.test",
        "source": {"folder": "/b"},
        "server": "http-server",
    },
]
FULL = complete_sites(SITES, {name: f"made-{name}" for name in secret_names(SITES)})
CACHE = {"scheme": "tcp", "host": "redis", "port": 6379}


def web(compose: bool) -> dict[str, Any]:
    served = roles.web_sites(FULL, compose, 1, "/srv/slipway/static", "nginx")
    return {site["name"]: site for site in served}


def test_every_site_has_a_certificate_with_all_its_names() -> None:
    made = roles.certificates(FULL)
    held = {entry["name"]: entry["names"] for entry in made}
    # The web server reads the keys of all sites, by their group; that of FTP is none of its.
    assert {entry["name"]: entry["key_gid"] for entry in made if "key_gid" in entry} == {"ftp": 0}
    assert held["blog"] == ["blog.example.test", "www.blog.example.test"]
    assert held["ftp"] == held["blog"]
    for site in web(compose=True).values():
        assert set(site["names"]) <= set(held[site["certificate"]])


def test_without_wordpress_there_is_no_certificate_for_ftp() -> None:
    assert [entry["name"] for entry in roles.certificates(FULL[1:])] == ["docs", "manual"]


def test_wordpress_is_told_what_database_and_cache_were_told() -> None:
    (site,) = roles.php_sites(FULL, "mariadb", CACHE)
    (database_user,) = roles.database_users(FULL, ["%"])
    (cache_user,) = roles.cache_users(FULL)
    assert {"name": site["database"]["name"]} in roles.databases(FULL)
    assert (site["database"]["user"], site["database"]["password"]) == (
        database_user["name"],
        database_user["password"],
    )
    assert database_user["priv"].startswith(f"{site['database']['name']}.*:")
    for key in ("password", "prefix"):
        assert site["cache"][key] == cache_user[key]
    assert site["cache"]["user"] == cache_user["name"]


def test_each_salt_is_another_and_long() -> None:
    (site,) = roles.php_sites(FULL, "mariadb", CACHE)
    assert len(set(site["salts"].values())) == 8
    assert min(map(len, site["salts"].values())) >= 64


@pytest.mark.parametrize(("compose", "sockets"), [(True, 2), (False, 1)])
def test_nginx_balances_between_the_replicas_there_are(compose: bool, sockets: int) -> None:
    assert len(web(compose)["blog"]["upstreams"]) == sockets


def test_nginx_reads_the_folders_that_others_fill() -> None:
    (php,) = roles.php_sites(FULL, "mariadb", CACHE)
    (account,) = roles.ftp_accounts(FULL)
    assert web(compose=True)["blog"]["root"] == php["root"]
    # The account is locked into the folder above the web root, which visitors see nothing of.
    assert php["root"] == f"{account['root']}/public"
    assert account["uid"] == php["uid"] == web(compose=True)["blog"]["gid"]
    assert web(compose=True)["docs"]["root"] == "/srv/slipway/static/docs/public"


@pytest.mark.parametrize("compose", [True, False])
def test_a_site_with_a_server_of_its_own_is_proxied(compose: bool) -> None:
    site = web(compose)["manual"]
    assert site["type"] == "proxy"
    (upstream,) = site["upstreams"]
    (manual,) = [s for s in roles.static_sites(FULL, "nginx") if s["name"] == "manual"]
    assert upstream == f"{'static-manual' if compose else '127.0.0.1'}:{manual['port']}"


def test_a_sites_lines_for_nginx_reach_it() -> None:
    lines = ["expires 1h;", "etag off;"]
    sites = [FULL[0] | {"nginx": lines}, *FULL[1:]]
    told = roles.web_sites(sites, True, 1, "/srv/slipway/static", "nginx")
    assert [site["directives"] for site in told] == [lines, *([] for _ in FULL[1:])]


def test_the_default_server_counts_where_a_site_says_nothing() -> None:
    served = {site["name"]: site["server"] for site in roles.static_sites(FULL, "http-server")}
    assert served == {"docs": "http-server", "manual": "http-server"}


def test_a_host_is_served_by_itself_if_it_can() -> None:
    assert roles.provider_host("b", ["a", "b"]) == "b"
    assert roles.provider_host("c", ["a", "b"]) == "a"


def test_only_the_hosts_that_use_a_database_may_connect() -> None:
    addresses = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
    clients = ["a", "b", "c"]
    assert roles.client_addresses("a", ["a", "b"], clients, addresses) == ["localhost", "192.0.2.3"]
    assert roles.client_addresses("b", ["a", "b"], clients, addresses) == ["localhost"]
    groups = {"php": clients, "database": ["a", "b"], "cache": ["b"]}
    assert roles.partners("a", groups) == ["b", "c"]
    assert roles.partners("b", groups) == ["a", "c"]
    assert roles.partners("c", groups) == ["a", "b"]
    assert roles.partners("a", {**groups, "php": ["b"]}) == []
    hosts = [user["host"] for user in roles.database_users(FULL, ["localhost", "192.0.2.3"])]
    assert hosts == ["localhost", "192.0.2.3"]


def test_a_login_says_where_the_password_is_and_never_which() -> None:
    given = [{**SITES[0], "admin": {**SITES[0]["admin"], "password": "a long password"}}]
    made = {name: f"made-{name}" for name in secret_names(SITES)}
    generated = roles.summary_logins(FULL, secret_names(SITES), "/state/secrets")
    assert generated == [
        {
            "site": "blog",
            "url": "https://blog.example.test/wp-admin/",
            "user": "captain",
            "password": "/state/secrets/blog_wordpress_captain",
        }
    ]
    (vault,) = roles.summary_logins(complete_sites(given, made), secret_names(given), "/state/secrets")
    assert vault["password"] == "as the inventory gives it"
