"""Filters of the role php_fpm_wordpress: what its sites have on a host that runs PHP itself."""

from __future__ import annotations

import json
import posixpath
from typing import Any

DOCUMENTATION = r"""
name: wordpress
short_description: What WordPress sites have on a host that runs PHP itself
description:
  - C(wordpress_accounts) returns the users of all sites, as M(accounts) takes them.
  - C(wordpress_folders), C(wordpress_files) and C(wordpress_secrets) return the folders, the files and the secrets of
    all sites, as M(managed_files) takes them. None but the last returns a secret.
  - C(wordpress_packs) returns the language packs, as M(fetched_files) takes them.
"""

Sites = list[dict[str, Any]]
# What is nobody's business but that of the state program or of the secrets' files.
_PRIVATE = ("salts", "admin", "users", "password")


def _public(value: dict[str, Any]) -> dict[str, Any]:
    """Return a site without its secrets."""
    return {key: _public(one) if isinstance(one, dict) else one for key, one in value.items() if key not in _PRIVATE}


def accounts(sites: Sites, groups: list[str], shell: str) -> list[dict[str, Any]]:
    """Return the user of each site."""
    return [
        {
            "name": site["name"],
            "uid": int(site["uid"]),
            "groups": groups,
            "home": posixpath.dirname(site["root"]),
            "shell": shell,
        }
        for site in sites
    ]


def folders(sites: Sites, secrets: str, scratch: str) -> list[dict[str, Any]]:
    """Return the folders of all sites; ``secrets`` and ``scratch`` are those in which each site has its own."""
    # Each site looks into its own folders only; the names are no secret.
    found: list[dict[str, Any]] = [
        {"path": secrets, "mode": "0711"},
        {"path": posixpath.dirname(scratch), "mode": "0755"},
        {"path": scratch, "mode": "0755"},
    ]
    for site in sites:
        uid, home, own = int(site["uid"]), posixpath.dirname(site["root"]), f"{scratch}/{site['name']}"
        mine = {"owner": uid, "group": uid}
        found += [
            # Its own folder is root's, so that FTP may be locked into it; what the site may write to lies in it.
            {"path": posixpath.dirname(home), "mode": "0755"},
            {"path": home, "group": uid, "mode": "0750"},
            {"path": site["root"], **mine, "mode": "0750"},
            {"path": f"{secrets}/{site['name']}", "group": uid, "mode": "0750"},
            # What PHP writes by itself.
            {"path": own, "mode": "0755"},
            {"path": f"{own}/tmp", **mine, "mode": "0700"},  # noqa: S108 - not that one
            {"path": f"{own}/sessions", **mine, "mode": "0700"},
        ]
    return [one for number, one in enumerate(found) if one not in found[:number]]


def files(sites: Sites, pools: str) -> list[dict[str, Any]]:
    """Return the configuration of WordPress and the pool of each site; ``pools`` is the folder of the latter."""
    found: list[dict[str, Any]] = []
    for site in sites:
        seen = {"vars": {"site": _public(site)}}
        config = f"{posixpath.dirname(site['root'])}/wp-config.php"
        found += [
            {"src": "wp-config.php.j2", "path": config, "group": int(site["uid"]), "mode": "0440", **seen},
            {"src": "fpm.conf.j2", "path": f"{pools}/{site['name']}.conf", "mode": "0644", **seen},
        ]
    return found


def secrets(sites: Sites, folder: str) -> list[dict[str, Any]]:
    """Return the secrets of each site; each has a folder of its own in ``folder``."""
    found = []
    for site in sites:
        values = {"database_password": site["database"]["password"], "salts": json.dumps(site["salts"])}
        if "cache" in site:
            values["cache_password"] = site["cache"]["password"]
        uid, prefix = int(site["uid"]), f"{folder}/{site['name']}/{site['name']}_"
        # The web server is in the site's group, and has no business here.
        mine = {"owner": uid, "group": uid, "mode": "0400"}
        found += [{"path": f"{prefix}{key}", "content": value, **mine} for key, value in values.items()]
    return found


def packs(given: dict[str, dict[str, str]], folder: str) -> list[dict[str, Any]]:
    """Return the language packs, by language, as files of ``folder``."""
    subject = "php_fpm_wordpress_language_packs"
    return [
        {**pack, "subject": f"{subject}: {language}", "dest": f"{folder}/language-{language}.zip"}
        for language, pack in given.items()
    ]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "wordpress_accounts": accounts,
            "wordpress_folders": folders,
            "wordpress_files": files,
            "wordpress_secrets": secrets,
            "wordpress_packs": packs,
        }
