"""The list of sites: what is refused and how that is said, and what is filled in."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.filter import slipway_roles
from plugins.filter.slipway_sites import (
    complete_sites,
    default_uid,
    foreign_accounts,
    nginx_lines,
    nginx_option_faults,
    secret_names,
    secret_paths,
    site_errors,
    unknown_timezones,
)
from tests.repository import ROOT

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
    text = (ROOT / "inventory/group_vars/all/sites.yml").read_text()
    sites = yaml.safe_load(text.replace("{{ playbook_dir | dirname }}", str(ROOT)))["slipway_sites"]
    assert site_errors(sites) == []


def test_everything_that_can_be_said_may_be_said() -> None:
    full = wordpress(
        aliases=["www.blog.example.test"],
        uid=20001,
        nginx=["client_max_body_size 1g;", "location = /health { return 204; }"],
        language="de_DE",
        timezone="Europe/Berlin",
        permalinks="/%year%/%postname%/",
        admin={"name": "captain", "email": "captain@example.test", "password": "a" * 12},
        users=[user(), user(name="bosun", email="bosun@example.test", role="author", password="b" * 12)],
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
    assert not site_errors([static(source={**archive, "archive": "file:///srv/a.tar.gz"})])
    private = {
        "git": "git@git.example.test:a.git",
        "key_file": "/keys/a",
        "host_key": "git.example.test ssh-ed25519 AA",
    }
    assert not site_errors([static(source={**private, "version": "main"})])
    assert not site_errors([])


ADMIN = wordpress()["admin"]
# What is wrong => where the message points and what else it says.
BAD: dict[str, tuple[list[Any], list[str]]] = {
    "an unknown key": ([wordpress(titel="x")], ["[0].titel (blog)", "'titel'", "title"]),
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
    "a time zone that is no name": ([wordpress(timezone="../Berlin")], ["[0].timezone", "'../Berlin'"]),
    "a time zone by its offset": ([wordpress(timezone="UTC+2")], ["[0].timezone", "'UTC+2'", "Europe/Berlin"]),
    "a name that ends in a hyphen": ([wordpress(name="blog-")], ["[0].name", "'blog-'"]),
    "a name of Slipway's own": ([wordpress(name="slipway-cache")], ["[0].name", "'slipway-cache'", "Slipway"]),
    "a domain in capitals": ([wordpress(domain="Blog.example.test")], ["[0].domain (blog)", "lower case"]),
    "a domain with a dot at its end": ([wordpress(domain="blog.test.")], ["[0].domain (blog)", "without the dot"]),
    "a domain beyond ASCII": ([wordpress(domain="müller.example")], ["[0].domain (blog)", "xn--mller-kva.example"]),
    "a domain whose ASCII form is disputed": ([wordpress(domain="straße.example")], ["[0].domain (blog)", "such as"]),
    "a label that is too long": ([wordpress(domain=f"{'a' * 64}.test")], ["[0].domain (blog)", "63"]),
    "a domain with a port": ([wordpress(domain="blog.test:8443")], ["[0].domain (blog)", "'blog.test:8443'"]),
    "a domain with a star": ([wordpress(aliases=["*.blog.test"])], ["[0].aliases[0] (blog)", "'*.blog.test'"]),
    "an address for a domain": ([wordpress(domain="192.0.2.1")], ["[0].domain (blog)", "'192.0.2.1'", "address"]),
    "an address of IPv6": ([wordpress(aliases=["2001:db8::1"])], ["[0].aliases[0] (blog)", "'2001:db8::1'", "address"]),
    "the domain as an alias of its own": (
        [wordpress(aliases=["blog.example.test"])],
        ["[0].aliases[0] (blog)", "twice", "slipway_sites[0].domain (blog)"],
    ),
    "an alias twice": (
        [wordpress(aliases=["a.test.test", "a.test.test"])],
        ["[0].aliases[1] (blog)", "twice", "[0].aliases[0] (blog)"],
    ),
    "an address without a dot": ([wordpress(admin={**ADMIN, "email": "captain@intranet"})], ["[0].admin.email (blog)"]),
    "an address with an umlaut": (
        [wordpress(users=[user(email="jürgen@a.test")])],
        ["users[0].email (blog)", "jürgen"],
    ),
    "an address that WordPress changes": ([wordpress(users=[user(email="a&b@a.test")])], ["users[0].email (blog)"]),
    "an address that is too long": (
        [wordpress(users=[user(email=f"{'a' * 90}@example.test")])],
        ["users[0].email (blog)", "100"],
    ),
    "an address twice": (
        [wordpress(users=[user(email="Captain@example.test")])],
        ["users[0].email (blog)", "twice", "slipway_sites[0].admin.email"],
    ),
    "a user's name without a letter": ([wordpress(users=[user(name="..")])], ["users[0].name (blog)", "'..'"]),
    "permalinks without a slash": ([wordpress(permalinks="%postname%/")], ["[0].permalinks (blog)", "/%postname%/"]),
    "permalinks without a tag": ([wordpress(permalinks="/posts/")], ["[0].permalinks (blog)", "'/posts/'"]),
    "permalinks with an unknown tag": (
        [wordpress(permalinks="/%postnam%/")],
        ["[0].permalinks (blog)", "%postnam%", "%postname%"],
    ),
    "permalinks like files": ([wordpress(permalinks="/%postname%.php")], ["[0].permalinks (blog)", ".html"]),
    "permalinks like dumps": ([wordpress(permalinks="/%postname%.gz/")], ["[0].permalinks (blog)", ".html"]),
    "permalinks in WordPress's folder": ([wordpress(permalinks="/wp-admin/%postname%/")], ["[0].permalinks (blog)"]),
    "permalinks that go up": ([wordpress(permalinks="/../%postname%/")], ["[0].permalinks (blog)"]),
    "permalinks with a question": ([wordpress(permalinks="/?p=%post_id%")], ["[0].permalinks (blog)"]),
    "a language without its country": ([wordpress(language="de")], ["[0].language (blog)", "'de'", "de_DE"]),
    "a language with a hyphen": ([wordpress(language="de-DE")], ["[0].language (blog)", "'de-DE'", "de_DE"]),
    "a language that is a path": ([wordpress(language="../x")], ["[0].language (blog)"]),
    "a language by its name": ([wordpress(language="German")], ["[0].language (blog)"]),
    "a title of two lines": ([wordpress(title="Harbour\nblog")], ["[0].title (blog)", "Harbour"]),
    "a title with a tab": ([wordpress(title="Harbour\tblog")], ["[0].title (blog)"]),
    "no text for a title": ([wordpress(title=" ")], ["[0].title (blog)"]),
    "too little memory for PHP": ([wordpress(memory_mb=16)], ["[0].memory_mb (blog)", "16", "64"]),
    "too little memory for each replica": (
        [wordpress(memory_mb=256, replicas=8)],
        ["[0].memory_mb (blog)", "256", "8 replicas", "512"],
    ),
    "an archive that is a path": (
        [static(source={"archive": "/srv/a.zip", "checksum": f"sha256:{'0' * 64}"})],
        ["[0].source.archive (docs)", "'/srv/a.zip'", "https://"],
    ),
    "no replica": ([wordpress(replicas=0)], ["[0].replicas", "0"]),
    "a number for a text": (
        [static(source={"git": "https://x.test/y", "version": 1.0})],
        ["[0].source.version (docs)", "1.0", "in quotes"],
    ),
    "yes for a text": ([wordpress(title=True)], ["[0].title (blog)", "True", "in quotes"]),
    "nothing for a text": ([wordpress(domain="b.test") | {"title": None}], ["[0].title (blog)", "None", "a text"]),
    "a text for a number": ([wordpress(replicas="2")], ["[0].replicas", "'2'", "number"]),
    "yes for a number": ([wordpress(uid=True)], ["[0].uid", "number"]),
    "a text for a list": ([wordpress(aliases="a.example.test")], ["[0].aliases", "list"]),
    "a static site without source": ([static(source={})], ["[0].source", "folder", "archive", "git"]),
    "a folder from nowhere": ([static(source={"folder": "build/docs"})], ["[0].source.folder (docs)", "absolute path"]),
    "a checksum of a folder": (
        [static(source={"folder": "/a", "checksum": f"sha256:{'0' * 64}"})],
        ["[0].source.checksum (docs)", "not allowed beside 'folder'", "archive"],
    ),
    "a version of an archive": (
        [static(source={"archive": "https://x.test/y.zip", "checksum": f"sha256:{'0' * 64}", "version": "v1"})],
        ["[0].source.version (docs)", "not allowed beside 'archive'", "git"],
    ),
    "two sources": ([static(source={"folder": "/a", "git": "https://x.test/y"})], ["[0].source"]),
    "an archive unpinned": ([static(source={"archive": "https://x.test/y.zip"})], ["checksum", "sha256"]),
    "an archive by its path": (
        [static(source={"archive": "/srv/a.zip", "checksum": f"sha256:{'0' * 64}"})],
        ["[0].source.archive", "'/srv/a.zip'", "file:///path on the controller"],
    ),
    "a repository by its path": (
        [static(source={"git": "file:///srv/a.git", "version": "main"})],
        ["[0].source.git", "'file:///srv/a.git'"],
    ),
    "a key that git can't use": (
        [static(source={"git": "https://x.test/y", "version": "main", "key_file": "/keys/a"})],
        ["[0].source.key_file", "by ssh"],
    ),
    "a host key without a repository": (
        [static(source={"folder": "/a", "host_key": "x ssh-ed25519 AA"})],
        ["[0].source.host_key", "git"],
    ),
    "an unknown server": ([static(server="apache")], ["[0].server", "apache", "http-server"]),
    "a name twice": ([wordpress(), wordpress(domain="b.example.test")], ["[1].name", "blog", "[0]"]),
    "a domain twice": ([wordpress(), static(domain="blog.example.test")], ["[1].domain", "[0].domain"]),
    "a domain as alias": ([wordpress(), static(aliases=["blog.example.test"])], ["[1].aliases[0] (docs)"]),
    "a line for nginx without its end": (
        [wordpress(nginx=["expires 1h"])],
        ["[0].nginx[0] (blog)", "'expires 1h'", "';'"],
    ),
    "a line for nginx that leaves its block": (
        [static(nginx=["gzip off;", "} server { listen 81; }"])],
        ["[0].nginx[1] (docs)", "doesn't open"],
    ),
    "two lines for nginx in one": (
        [static(nginx=["gzip off;\nexpires 1h;"])],
        ["[0].nginx[0] (docs)", "line of its own"],
    ),
    "no list of lines for nginx": ([static(nginx="gzip off;")], ["[0].nginx (docs)", "list"]),
    "a mapping for a line for nginx": ([static(nginx=[{"gzip": "off"}])], ["[0].nginx[0] (docs)", "a text"]),
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


SECRETS = {
    "database_password": lambda value: wordpress(database_password=value),
    "cache_password": lambda value: wordpress(cache_password=value),
    "ftp_password": lambda value: wordpress(ftp_password=value),
    "salt_seed": lambda value: wordpress(salt_seed=value),
    "admin.password": lambda value: wordpress(admin={**ADMIN, "password": value}),
    "users[0].password": lambda value: wordpress(users=[user(password=value)]),
}
# A bad secret => what the line says of it.
BAD_SECRETS = {
    "short": ("hunter2", "of 7 characters"),
    "a line break at the end": ("hunter2-hunter2\n", "line break at its end"),
    "a carriage return at the end": ("hunter2-hunter2\r\n", "line break at its end"),
    "a blank at the end": ("hunter2-hunter2 ", "blank at its end"),
    "a blank at the beginning": ("\thunter2-hunter2", "blank at its beginning"),
    "a line break within": ("hunter2\nhunter2", "control character"),
    "half a character": ("hunter2\ud800hunter2", "control character"),
    "a zero byte within": ("hunter2\0hunter2", "control character"),
}


@pytest.mark.parametrize(("key", "kind"), list(itertools.product(SECRETS, BAD_SECRETS)))
def test_a_secret_that_would_not_work_is_refused_without_being_shown(key: str, kind: str) -> None:
    value, said = BAD_SECRETS[kind]
    (error,) = site_errors([SECRETS[key](value)])
    assert error.startswith(f"slipway_sites[0].{key} (blog): ")
    assert said in error
    assert "hunter2" not in error


def test_a_password_that_the_ftp_server_cuts_off_is_refused() -> None:
    assert site_errors([wordpress(ftp_password="x" * 128, database_password="x" * 512)]) == []
    (error,) = site_errors([wordpress(ftp_password="ä" * 65)])
    assert "ftp_password (blog): a password of 130 bytes" in error


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_may_hold_any_sign_that_can_be_typed(key: str) -> None:
    assert site_errors([SECRETS[key]("pä$$ wörd:{{'\"\\ #%")]) == []


def test_a_password_of_a_wrong_type_is_not_shown() -> None:
    errors = site_errors([wordpress(admin={**ADMIN, "password": 31337})])
    assert errors
    assert "31337" not in str(errors)


def test_all_mistakes_of_a_site_are_told_at_once() -> None:
    """A key that nothing knows hides no mistake in the values, nor in other sites."""
    first = wordpress(
        titel="x", admin={"name": "admin", "email": 7}, users=["mate", user(role="boss")], domain="A.test"
    )
    errors = site_errors([first, static(name="docs-", domain="docs"), static(name="manual")])
    places = [
        "[0].titel (blog)",
        "[0].admin.email (blog)",
        "[0].users[0] (blog)",
        "[0].domain (blog)",
        "[0].admin.name (blog)",
        "[0].users[1].role (blog)",
        "[1].name",
        "[1].domain",
    ]
    assert sorted(error.split(":")[0] for error in errors) == sorted(f"slipway_sites{place}" for place in places)


def test_sites_that_share_something_are_told_beside_other_mistakes() -> None:
    errors = site_errors([wordpress(titel="x"), static(domain="blog.example.test")])
    assert [error.split(": ")[0] for error in errors] == [
        "slipway_sites[0].titel (blog)",
        "slipway_sites[1].domain (docs)",
    ]


# Names that something else has, and in which way.
RESERVED = {
    "www": "FPM",
    "global": "FPM",
    "on": "yes",
    "off": "yes",
    "yes": "yes",
    "no": "yes",
    "true": "yes",
    "false": "yes",
    "null": "yes",
    "none": "yes",
    "default": "cache",
    "anonymous": "FTP",
    "ftp": "account",
    "redis": "account",
    "mysql": "account",
    "nogroup": "account",
    "shadow": "account",
    "ssl-cert": "account",
    "systemd-journal": "account",
    "sys": "MariaDB",
    "test": "MariaDB",
    "ibdata1": "MariaDB",
    "ibtmp1": "MariaDB",
    "undo003": "MariaDB",
    "debian-sys-maint": "MariaDB",
    "html": "/var/www",
    "localhost": "/var/www",
    "slipway": "Slipway",
    "php": "Slipway",
    "static": "Slipway",
    "slipway-cron": "Slipway",
}


@pytest.mark.parametrize("name", RESERVED)
def test_a_name_that_something_else_has_is_refused_with_the_reason(name: str) -> None:
    (error,) = site_errors([wordpress(name=name)])
    assert f"slipway_sites[0].name: {name!r} is not allowed" in error
    assert RESERVED[name] in error


# Names of parts of the stack, such as its networks and folders, and names that hold each other.
SERVED = [
    "frontend",
    "backend",
    "stack",
    "data",
    "run",
    "cache",
    "tls",
    "secrets",
    "sites",
    "public",
    "a",
    "a-1",
    "a-1-2",
]


def test_names_that_only_look_like_others_are_served() -> None:
    """Two things of two sites, or of the stack, never have one name, wherever the name of a site goes."""
    sites = [
        wordpress(name=name, domain=f"{name}.example.test", users=[user(name="a_salt_seed")], replicas=2)
        for name in SERVED
    ]
    assert site_errors(sites) == []
    secrets = secret_names(sites)
    full = complete_sites(sites, dict.fromkeys(secrets, "x" * 12))
    web = slipway_roles.web_sites(full, compose=True, replicas=1, static_dir="/srv", default_server="nginx")
    prefixes = [cache["prefix"] for cache in slipway_roles.cache_users(full)]
    for things in (
        secrets,
        [certificate["name"] for certificate in slipway_roles.certificates(full)],
        [mount.partition(":")[0] for site in web for mount in site["mounts"]],
        [upstream for site in web for upstream in site["upstreams"]],
        prefixes,
    ):
        assert len(things) == len(set(things))
    assert [(a, b) for a, b in itertools.permutations(prefixes, 2) if b.startswith(a)] == []


@pytest.mark.parametrize("length", [65, 253])
def test_a_long_domain_is_a_domain(length: int) -> None:
    labels = ".".join(["a" * 31] * 8)
    domain = f"{labels[: length - len('.test')].rstrip('.')}.test"
    assert len(domain) in {length, length - 1}
    assert site_errors([wordpress(domain=domain, aliases=[f"b{domain[1:]}"])]) == []


@pytest.mark.parametrize(
    "language", ["ja", "fi", "ar", "ckb", "de_DE_formal", "pt_PT_ao90", "zh_CN", "ceb", "de_CH_informal", "en_GB", "eo"]
)
def test_locales_that_wordpress_has_are_languages(language: str) -> None:
    assert site_errors([wordpress(language=language)]) == []


@pytest.mark.parametrize(
    "permalinks",
    ["", "/%post_id%", "/index.php/%year%/%monthnum%/%day%/%postname%/", "/archive/%author%-%category%/%hour%.html"],
)
def test_structures_that_wordpress_takes_are_permalinks(permalinks: str) -> None:
    assert site_errors([wordpress(permalinks=permalinks)]) == []


def test_the_host_says_which_time_zones_there_are() -> None:
    """Debian has old names in a package of their own; the controller may know more of them, or fewer."""
    sites = [wordpress(timezone="US/Pacific"), wordpress(name="journal", timezone="Europe/Berlin"), static()]
    (error,) = unknown_timezones(sites, ["Europe/Berlin"], {"US/Pacific", "Europe/Berlin"})
    assert "slipway_sites[0].timezone (blog): 'US/Pacific'" in error
    assert unknown_timezones(sites, ["Europe/Berlin", "US/Pacific"], {"UTC"}) == []
    assert len(unknown_timezones(sites, [], {"US/Pacific"})) == 2


def test_the_controller_says_it_where_the_host_has_none_yet() -> None:
    sites = [wordpress(timezone="Europe/Berlin"), wordpress(timezone="Europe/Berlin")]
    assert unknown_timezones(sites, None, {"Europe/Berlin"}) == []
    assert len(unknown_timezones(sites, None, {"Europe/Paris"})) == 2
    # It may have none either: then PHP tells.
    assert unknown_timezones(sites, None, set()) == []


# What is wrong around a secret.
AROUND: dict[str, Any] = {
    "no list": {"blog": wordpress(ftp_password="hunter2")},
    "no mapping": [[wordpress(ftp_password="hunter2")]],
    "an administrator in a list": [wordpress(admin=[{**ADMIN, "password": "hunter2"}])],
    "users in a mapping": [wordpress(users={"mate": {"password": "hunter2"}})],
    "a user in a list": [wordpress(users=[[user(password="hunter2")]])],
    "an unknown type": [wordpress(type="joomla", ftp_password="hunter2")],
    "a URL of git": [static(source={"git": "htps://mate:hunter2@git.example.test/a.git", "version": "main"})],
    "a URL of an archive": [static(source={"archive": "htps://mate:hunter2@example.test/a.zip"})],
    "a source in a list": [static(source=["https://mate:hunter2@git.example.test/a.git"])],
}


@pytest.mark.parametrize("what", AROUND)
def test_no_secret_is_shown_whatever_is_wrong_around_it(what: str) -> None:
    errors = site_errors(AROUND[what])
    assert errors
    assert "hunter2" not in str(errors)


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


USERS = {"root": 0, "debian": 1000}
GROUPS = {"root": 0, "video": 44}


@pytest.mark.parametrize(
    ("name", "users", "groups", "words"),
    [
        ("debian", {}, {}, ["debian (uid 20001)", "the user debian with the id 1000"]),
        ("video", {}, {}, ["video (uid 20001)", "the group video with the id 44"]),
        ("blog", {"other": 20001}, {}, ["blog (uid 20001)", "the user other with the id 20001"]),
        ("blog", {}, {"other": 20001}, ["blog (uid 20001)", "the group other with the id 20001"]),
        ("blog", {"blog": 20002}, {}, ["blog (uid 20001)", "the user blog with the id 20002"]),
    ],
    ids=["a user's name", "a group's name", "a user's id", "a group's id", "another id than before"],
)
def test_what_the_host_gave_to_something_else_is_no_sites(
    name: str, users: dict[str, int], groups: dict[str, int], words: list[str]
) -> None:
    (error,) = foreign_accounts([{"name": name, "uid": 20001}], USERS | users, GROUPS | groups)
    assert all(word in error for word in words), error


def test_what_the_site_has_already_is_its_own() -> None:
    users, groups = {"blog": 20001}, {"blog": 20001}
    assert foreign_accounts([{"name": "blog", "uid": 20001}], USERS | users, GROUPS | groups) == []
    assert foreign_accounts([{"name": "blog", "uid": 20001}], USERS, GROUPS) == []
    assert foreign_accounts([{"name": "blog"}], USERS, GROUPS) == []


def test_a_user_id_stays_when_sites_come_and_go() -> None:
    """Files on disk belong to it."""
    assert default_uid("blog") == default_uid("blog")
    for name in ("blog", "journal", "docs", "a", "z" * 16):
        assert 20000 <= default_uid(name) < 30000


def test_directives_become_lines_as_nginx_has_them() -> None:
    options = {"gzip_static": True, "etag": False, "map_hash_max_size": 4096, "add_header": ["A 'x; y'", "B z always"]}
    assert nginx_lines(options) == [
        "gzip_static on;",
        "etag off;",
        "map_hash_max_size 4096;",
        "add_header A 'x; y';",
        "add_header B z always;",
    ]
    assert nginx_option_faults(options) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"map $a $b": "x"}, "'map $a $b' is no name"),
        ({"etag": None}, "etag: give a text"),
        ({"etag": ""}, "etag: give a text"),
        ({"etag": {"on": 1}}, "etag: give a text"),
        ({"etag": ["on", None]}, "etag: give a text"),
        ({"etag": "on;"}, "etag: give what one directive takes"),
        ({"etag": "on; server_tokens on"}, "etag: give what one directive takes"),
        ({"map": "$a $b { default 1; }"}, "map: give what one directive takes"),
        ({"etag": "on; } http {"}, "etag: give what one directive takes"),
        ({"etag": "on # as ever"}, "etag: give what one directive takes"),
        ({"etag": "on\nx"}, "etag: give each directive a line"),
        ({"etag": "'on"}, "etag: a quote is not closed"),
    ],
)
def test_directives_that_are_none_are_refused(options: dict[str, Any], said: str) -> None:
    (fault,) = nginx_option_faults(options)
    assert fault.startswith(said)
