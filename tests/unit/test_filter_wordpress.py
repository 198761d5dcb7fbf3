"""What WordPress sites have on a host that runs PHP itself, of each kind in one list."""

from __future__ import annotations

import json
from typing import Any

from plugins.filter.wordpress import accounts, files, folders, packs, secrets

SITES: list[dict[str, Any]] = [
    {
        "name": name,
        "uid": 20001 + number,
        "root": f"/var/www/{name}/public",
        "title": name,
        "admin": {"name": "captain", "password": "secret of the captain"},
        "users": [{"name": "mate", "password": "secret of the mate"}],
        "database": {"name": name, "password": "secret of the database"},
        "salts": {"AUTH_KEY": "secret of the salts"},
        **({"cache": {"user": name, "password": "secret of the cache"}} if number else {}),
    }
    for number, name in enumerate(("blog", "journal"))
]


def test_secrets_are_in_the_files_of_secrets_alone() -> None:
    others = [
        accounts(SITES, ["cache"], "/sbin/nologin"),
        folders(SITES, "/etc/slipway/secrets", "/var/lib/slipway/php"),
        files(SITES, "/etc/php/pool.d"),
    ]
    assert "secret of" not in json.dumps(others)
    found = secrets(SITES, "/etc/slipway/secrets")
    assert {one["path"]: one["content"] for one in found} == {
        "/etc/slipway/secrets/blog/blog_database_password": "secret of the database",
        "/etc/slipway/secrets/blog/blog_salts": '{"AUTH_KEY": "secret of the salts"}',
        "/etc/slipway/secrets/journal/journal_database_password": "secret of the database",
        "/etc/slipway/secrets/journal/journal_salts": '{"AUTH_KEY": "secret of the salts"}',
        "/etc/slipway/secrets/journal/journal_cache_password": "secret of the cache",
    }
    assert {(one["owner"], one["group"], one["mode"]) for one in found} == {
        (20001, 20001, "0400"),
        (20002, 20002, "0400"),
    }


def test_a_template_sees_its_site() -> None:
    found = {one["path"]: one for one in files(SITES, "/etc/php/pool.d")}
    assert list(found) == [
        "/var/www/blog/wp-config.php",
        "/etc/php/pool.d/blog.conf",
        "/var/www/journal/wp-config.php",
        "/etc/php/pool.d/journal.conf",
    ]
    config = found["/var/www/journal/wp-config.php"]
    assert config["vars"]["site"]["database"] == {"name": "journal"}
    assert config["vars"]["site"]["cache"] == {"user": "journal"}
    assert (config["group"], config["mode"]) == (20002, "0440")


def test_a_site_s_own_folder_is_root_s_and_what_it_writes_to_is_its_own() -> None:
    found = {one["path"]: one for one in folders(SITES, "/etc/slipway/secrets", "/var/lib/slipway/php")}
    assert "owner" not in found["/var/www/blog"]
    assert found["/var/www/blog"]["group"] == 20001
    for path in ("/var/www/blog/public", "/var/lib/slipway/php/blog/tmp", "/var/lib/slipway/php/blog/sessions"):
        assert (found[path]["owner"], found[path]["group"]) == (20001, 20001)
    # Before what lies in them, and once.
    paths = [one["path"] for one in folders(SITES, "/etc/slipway/secrets", "/var/lib/slipway/php")]
    assert len(paths) == len(set(paths))
    assert all(paths.index(path.rpartition("/")[0]) < paths.index(path) for path in paths if path.count("/") > 4)


def test_a_language_pack_is_called_after_its_language() -> None:
    given = {"de_DE": {"url": "https://mirror.example.test/de.zip", "checksum": "sha256:00"}}
    assert packs(given, "/opt/share") == [
        {
            **given["de_DE"],
            "subject": "php_fpm_wordpress_language_packs: de_DE",
            "dest": "/opt/share/language-de_DE.zip",
        }
    ]
