"""The list of sites: what is refused and how that is said, and what is filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.filter.slipway_sites import (
    complete_sites,
    default_uid,
    foreign_accounts,
    secret_names,
    secret_paths,
    site_errors,
)
from tests.repository import ROOT, load

Site = dict[str, Any]


def wordpress(**changes: Any) -> Site:
    site = {
        "name": "blog",
        "type": "wordpress",
        "domain": "blog.example.test",
        "title": "Blog",
        "admin": {"name": "captain", "email": "captain@example.test"},
        **changes,
    }
    return {key: value for key, value in site.items() if value is not None}


def static(**changes: Any) -> Site:
    return {
        "name": "docs",
        "type": "static",
        "domain": "docs.example.test",
        "source": {"folder": "/srv/docs"},
        **changes,
    }


def user(**changes: Any) -> Site:
    return {"name": "mate", "email": "mate@example.test", "role": "editor", **changes}


def test_the_sites_of_the_inventory_are_fine() -> None:
    assert site_errors(load(ROOT / "inventory/group_vars/all/sites.yml")["slipway_sites"]) == []


def test_everything_that_can_be_said_may_be_said() -> None:
    full = wordpress(
        aliases=["www.blog.example.test"],
        uid=20001,
        language="de_DE",
        timezone="Europe/Berlin",
        permalinks="/%year%/%postname%/",
        admin={"name": "captain", "email": "captain@example.test", "password": "a" * 12},
        users=[user(), user(name="bosun", role="author", password="b" * 12)],
        replicas=2,
        memory_mb=512,
        database_password="c" * 12,
        cache_password="d" * 12,
        ftp_password="e" * 12,
        salt_seed="f" * 12,
    )
    archive = {"archive": "https://example.test/a.tar.gz", "checksum": f"sha256:{'0' * 64}"}
    git = {"git": "https://git.example.test/a.git", "version": "main"}
    assert not site_errors([full, static(source=archive, server="http-server")])
    assert not site_errors([static(source=git)])
    assert not site_errors([])


ADMIN = wordpress()["admin"]
# What is wrong => where the message points and what else it says.
BAD: dict[str, tuple[list[Any], list[str]]] = {
    "an unknown key": ([wordpress(titel="x")], ["[0]", "titel", "title"]),
    "an unknown nested key": ([wordpress(admin={**ADMIN, "mail": "x"})], ["[0].admin", "mail", "email"]),
    "an unknown key in a list": ([wordpress(users=[user(rolle="x")])], ["users[0]", "rolle", "role"]),
    "an unknown type": ([wordpress(type="joomla")], ["[0].type", "joomla", "wordpress", "static"]),
    "no type": ([wordpress(type=None)], ["[0]", "type"]),
    "no name": ([wordpress(name=None)], ["[0]", "name"]),
    "no title": ([wordpress(title=None)], ["[0].title"]),
    "no domain": ([wordpress(domain=None)], ["[0]", "domain"]),
    "no administrator": ([wordpress(admin=None)], ["[0].admin"]),
    "a name in capitals": ([wordpress(name="Blog")], ["[0].name", "'Blog'"]),
    "a name with a path": ([wordpress(name="../x")], ["[0].name"]),
    "a name the system has": ([wordpress(name="root")], ["[0].name", "root"]),
    "an invalid domain": ([wordpress(domain="blog_example")], ["[0].domain", "blog_example"]),
    "a domain with a scheme": ([wordpress(domain="https://a.test")], ["[0].domain", "https://a.test"]),
    "an invalid alias": ([wordpress(aliases=["-a.test"])], ["[0].aliases", "-a.test"]),
    "an admin called so": ([wordpress(admin={**ADMIN, "name": "TheAdmin"})], ["admin.name", "TheAdmin"]),
    "a further administrator called so": (
        [wordpress(users=[user(name="admin2", role="administrator")])],
        ["users[0].name", "admin2"],
    ),
    "a user twice": ([wordpress(users=[user(name="captain")])], ["users[0].name", "captain"]),
    "an unknown role": ([wordpress(users=[user(role="boss")])], ["users[0].role", "boss", "editor"]),
    "no address": ([wordpress(users=[user(email="mate")])], ["users[0].email", "mate"]),
    "an unknown time zone": ([wordpress(timezone="Berlin")], ["[0].timezone", "Berlin"]),
    "no replica": ([wordpress(replicas=0)], ["[0].replicas", "0"]),
    "a text for a number": ([wordpress(replicas="2")], ["[0].replicas", "'2'", "number"]),
    "yes for a number": ([wordpress(uid=True)], ["[0].uid", "number"]),
    "a text for a list": ([wordpress(aliases="a.example.test")], ["[0].aliases", "list"]),
    "a static site without source": ([static(source={})], ["[0].source", "folder", "archive", "git"]),
    "two sources": ([static(source={"folder": "/a", "git": "https://x.test/y"})], ["[0].source"]),
    "an archive unpinned": ([static(source={"archive": "https://x.test/y.zip"})], ["checksum", "sha256"]),
    "an unknown server": ([static(server="apache")], ["[0].server", "apache", "http-server"]),
    "a name twice": ([wordpress(), wordpress(domain="b.example.test")], ["[1].name", "blog", "[0]"]),
    "a domain twice": ([wordpress(), static(domain="blog.example.test")], ["[1].domain", "[0].domain"]),
    "a domain as alias": ([wordpress(), static(aliases=["blog.example.test"])], ["[1].aliases"]),
    "a user id twice": ([wordpress(uid=20001), static(uid=20001)], ["[1].uid", "20001"]),
    "a user id of the system": ([wordpress(uid=33)], ["[0].uid", "33", "20000 to 29999"]),
    "a user id that is no port": ([static(uid=70000)], ["[0].uid", "70000", "20000 to 29999"]),
    "no list": ({"blog": {}}, ["slipway_sites", "list"]),  # type: ignore[dict-item]
    "no mapping": (["blog"], ["[0]", "blog"]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_sites_are_refused_with_the_place_the_value_and_what_is_allowed(what: str) -> None:
    sites, words = BAD[what]
    errors = site_errors(sites)
    assert errors
    assert all("\n" not in error for error in errors)
    matching = [error for error in errors if all(word in error for word in words)]
    assert matching, f"{words} not in {errors}"


@pytest.mark.parametrize("key", ["database_password", "cache_password", "ftp_password", "salt_seed"])
def test_a_short_password_is_refused_without_being_shown(key: str) -> None:
    errors = site_errors([wordpress(**{key: "hunter2"})])
    assert [error for error in errors if key in error and "12" in error]
    assert "hunter2" not in str(errors)


def test_a_password_of_a_wrong_type_is_not_shown() -> None:
    errors = site_errors([wordpress(admin={**ADMIN, "password": 31337})])
    assert errors
    assert "31337" not in str(errors)


def test_secrets_that_nobody_gave_are_named_and_no_others() -> None:
    site = wordpress(ftp_password="f" * 12, users=[user(password="m" * 12)])
    names = secret_names([site, static()])
    assert "blog_ftp_password" not in names
    assert "blog_wordpress_mate" not in names
    assert {"blog_database_password", "blog_cache_password", "blog_salt_seed", "blog_wordpress_captain"} == set(names)


def test_check_mode_keeps_no_new_secret(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    paths = secret_paths(["there", "new"], str(tmp_path), check=True)
    assert paths == [str(tmp_path / "there"), "/dev/null"]
    assert secret_paths(["new"], str(tmp_path)) == [str(tmp_path / "new")]


def test_given_and_made_secrets_reach_the_site() -> None:
    site = wordpress(ftp_password="given-ftp-password", users=[user()])
    made = {name: f"made-{name}" for name in secret_names([site])}
    (full,) = complete_sites([site], made)
    assert full["ftp_password"] == "given-ftp-password"
    assert full["database_password"] == "made-blog_database_password"
    assert full["admin"]["password"] == "made-blog_wordpress_captain"
    assert full["users"][0]["password"] == "made-blog_wordpress_mate"


def test_addresses_name_the_port_only_where_they_must() -> None:
    made = dict.fromkeys(secret_names([wordpress()]), "x" * 12)
    assert complete_sites([wordpress()], made)[0]["url"] == "https://blog.example.test"
    assert complete_sites([wordpress()], made, 8443)[0]["url"] == "https://blog.example.test:8443"


def test_what_was_said_is_kept_and_the_rest_filled_in() -> None:
    site = wordpress(aliases=["www.blog.example.test"], uid=20007, timezone="Europe/Berlin")
    (full,) = complete_sites([site], dict.fromkeys(secret_names([site]), "x" * 12))
    assert full["names"] == ["blog.example.test", "www.blog.example.test"]
    assert full["uid"] == 20007
    assert full["timezone"] == "Europe/Berlin"
    assert full["language"] == "en_US"
    assert full["users"] == []


# The host's accounts, as the module getent returns them.
USERS = {"root": ["x", "0", "0", "root", "/root", "/bin/sh"], "debian": ["x", "1000", "1000", "", "/home/debian", ""]}
GROUPS = {"root": ["x", "0", ""], "video": ["x", "44", ""]}


@pytest.mark.parametrize(
    ("name", "users", "groups", "words"),
    [
        ("debian", {}, {}, ["debian (uid 20001)", "the user debian with the id 1000"]),
        ("video", {}, {}, ["video (uid 20001)", "the group video with the id 44"]),
        ("blog", {"other": ["x", "20001", "20001"]}, {}, ["blog (uid 20001)", "the user other with the id 20001"]),
        ("blog", {}, {"other": ["x", "20001", ""]}, ["blog (uid 20001)", "the group other with the id 20001"]),
        ("blog", {"blog": ["x", "20002", "20002"]}, {}, ["blog (uid 20001)", "the user blog with the id 20002"]),
    ],
    ids=["a user's name", "a group's name", "a user's id", "a group's id", "another id than before"],
)
def test_what_the_host_gave_to_something_else_is_no_sites(
    name: str, users: dict[str, list[str]], groups: dict[str, list[str]], words: list[str]
) -> None:
    (error,) = foreign_accounts([{"name": name, "uid": 20001}], USERS | users, GROUPS | groups)
    assert all(word in error for word in words), error


def test_what_the_site_has_already_is_its_own() -> None:
    users, groups = {"blog": ["x", "20001", "20001", "", "/var/www/blog", ""]}, {"blog": ["x", "20001", ""]}
    assert foreign_accounts([{"name": "blog", "uid": 20001}], USERS | users, GROUPS | groups) == []
    assert foreign_accounts([{"name": "blog", "uid": 20001}], USERS, GROUPS) == []
    assert foreign_accounts([{"name": "blog"}], USERS, GROUPS) == []


def test_a_user_id_stays_when_sites_come_and_go() -> None:
    """Files on disk belong to it."""
    assert default_uid("blog") == default_uid("blog")
    for name in ("blog", "journal", "docs", "a", "z" * 16):
        assert 20000 <= default_uid(name) < 30000
