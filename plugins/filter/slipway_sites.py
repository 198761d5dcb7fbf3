"""Filters over `slipway_sites`, the one list that says what the hosts serve."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

DOCUMENTATION = r"""
name: slipway_sites
short_description: Checks, completes and splits the list of sites
description:
  - C(slipway_site_errors) tells what can't be served, one line for each mistake.
  - C(slipway_secret_names) names the secrets that the sites need and nobody gave.
  - C(slipway_secret_paths) tells where those lie on the controller.
  - C(slipway_complete_sites) gives every site all its keys.
  - C(slipway_foreign_accounts) tells which names and ids of sites a host gave to something else.
"""

Site = dict[str, Any]

# Key of a site => what it may be. A nested mapping or list of mappings is spelled out the same way.
_COMMON: dict[str, Any] = {
    "name": str,
    "type": str,
    "domain": str,
    "aliases": [str],
    "uid": int,
}
_KEYS: dict[str, dict[str, Any]] = {
    "wordpress": {
        **_COMMON,
        "title": str,
        "language": str,
        "timezone": str,
        "permalinks": str,
        "admin": {"name": str, "email": str, "password": str},
        "users": [{"name": str, "email": str, "role": str, "password": str}],
        "replicas": int,
        "memory_mb": int,
        "database_password": str,
        "cache_password": str,
        "ftp_password": str,
        "salt_seed": str,
    },
    "static": {
        **_COMMON,
        "source": {"folder": str, "archive": str, "checksum": str, "git": str, "version": str},
        "server": str,
    },
}
_REQUIRED = {"wordpress": ["title", "admin"], "static": ["source"]}
_REQUIRED_NESTED = {"admin": ["name", "email"], "users": ["name", "email", "role"]}
_SECRET_KEYS = {"password", "database_password", "cache_password", "ftp_password", "salt_seed"}
_SERVERS = ["nginx", "http-server"]
_ROLES = ["administrator", "editor", "author", "contributor", "subscriber"]
_PASSWORD_LENGTH = 12
_TYPE_NAMES = {str: "a text", int: "a whole number"}

_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")
# RFC 1123 host names, at least two labels, the last one not a number.
_DOMAIN = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_CHECKSUM = re.compile(r"sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_GIT = re.compile(r"(https?|ssh|git|file)://\S+|[\w.-]+@[\w.-]+:\S+")

# A site's name is a system user and a database: names that Debian, Alpine or the servers use are taken.
_TAKEN = re.compile(
    r"root|daemon|bin|sys|sync|games|man|lp|mail|news|uucp|proxy|www-data|backup|list|irc|gnats|nobody|adm|"
    r"shutdown|halt|operator|guest|ftp|sshd|ntp|chrony|postmaster|cron|at|squid|xfs|cyrus|vpopmail|smmsp|"
    r"mysql|mariadb|redis|valkey|nginx|php|docker|vsftpd|messagebus|polkitd|systemd-network|information-|"
    r"schema|performance-schema|test|static"
)

# Above what adduser gives to people by default and the stack's own ids, and below busybox's limit of 60000. A static
# site's http-server listens on the port of this number.
_UID_FIRST = 20000
_UID_COUNT = 10000


def _expected(rule: Any) -> str:
    if isinstance(rule, list):
        return "a list"
    return "a mapping" if isinstance(rule, dict) else _TYPE_NAMES[rule]


def _shown(key: str, value: object) -> str:
    return "(secret)" if key in _SECRET_KEYS else repr(value)


def _fits(rule: Any, value: object) -> bool:
    kind = type(rule) if isinstance(rule, list | dict) else rule
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _shape_errors(where: str, rules: dict[str, Any], item: dict[str, Any]) -> Iterator[str]:
    """Yield unknown keys and values of the wrong type, at any depth."""
    for key, value in item.items():
        path = f"{where}.{key}"
        if key not in rules:
            yield f"{path}: unknown key '{key}'; allowed: {', '.join(sorted(rules))}"
            continue
        rule = rules[key]
        if not _fits(rule, value):
            yield f"{path}: {_shown(key, value)} is not allowed; give {_expected(rule)}"
        elif isinstance(rule, dict):
            yield from _shape_errors(path, rule, value)
        elif isinstance(rule, list):
            for index, entry in enumerate(value):
                if not _fits(rule[0], entry):
                    yield f"{path}[{index}]: {entry!r} is not allowed; give {_expected(rule[0])}"
                elif isinstance(rule[0], dict):
                    yield from _shape_errors(f"{path}[{index}]", rule[0], entry)


def _missing(where: str, keys: list[str], item: dict[str, Any]) -> Iterator[str]:
    for key in keys:
        if key not in item:
            yield f"{where}.{key}: missing; required here: {', '.join(keys)}"


def _passwords(where: str, item: dict[str, Any]) -> Iterator[str]:
    for key, value in item.items():
        if key in _SECRET_KEYS and len(value) < _PASSWORD_LENGTH:
            yield (
                f"{where}.{key}: a password of {len(value)} characters is not allowed;"
                f" give at least {_PASSWORD_LENGTH}, or none to have one made"
            )


def _wordpress_errors(where: str, site: Site) -> Iterator[str]:
    users = [(f"{where}.admin", site.get("admin", {}))]
    users += [(f"{where}.users[{index}]", user) for index, user in enumerate(site.get("users", []))]
    seen: set[str] = set()
    for path, user in users:
        yield from _missing(path, _REQUIRED_NESTED["users" if "users[" in path else "admin"], user)
        yield from _passwords(path, user)
        name = user.get("name", "")
        administers = path.endswith(".admin") or user.get("role") == "administrator"
        if administers and "admin" in name.lower():
            yield (
                f"{path}.name: {name!r} is not allowed; an administrator's name must not contain 'admin',"
                " the first name attackers try"
            )
        if name and not re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", name):
            yield f"{path}.name: {name!r} is not allowed; give up to 60 letters, digits and _.-"
        if name.lower() in seen:
            yield f"{path}.name: {name!r} is there twice; each user of a site needs a name of its own"
        seen.add(name.lower())
        if not _EMAIL.fullmatch(user.get("email", "a@b")):
            yield f"{path}.email: {user['email']!r} is not allowed; give an e-mail address"
        if user.get("role", _ROLES[0]) not in _ROLES:
            yield f"{path}.role: {user['role']!r} is not allowed; one of: {', '.join(_ROLES)}"
    if site.get("timezone", "UTC") not in available_timezones():
        yield f"{where}.timezone: {site['timezone']!r} is not allowed; give an IANA name such as Europe/Berlin"
    if not 1 <= site.get("replicas", 1) <= 16:  # noqa: PLR2004 - the bounds say themselves
        yield f"{where}.replicas: {site['replicas']} is not allowed; 1 to 16"


def _static_errors(where: str, site: Site) -> Iterator[str]:
    source = site.get("source", {})
    kinds = [kind for kind in ("folder", "archive", "git") if kind in source]
    if "source" in site and len(kinds) != 1:
        yield f"{where}.source: {sorted(source)} is not allowed; give one of: folder, archive, git"
    if "archive" in source and not _CHECKSUM.fullmatch(source.get("checksum", "")):
        yield f"{where}.source.checksum: {source.get('checksum', '')!r} is not allowed; give sha256:<hex digits>"
    if "git" in source and not _GIT.fullmatch(source["git"]):
        yield f"{where}.source.git: {source['git']!r} is not allowed; give the URL of a git repository"
    if "git" in source and "version" not in source:
        yield f"{where}.source.version: missing; give a tag, a commit or a branch"
    if site.get("server", _SERVERS[0]) not in _SERVERS:
        yield f"{where}.server: {site['server']!r} is not allowed; one of: {', '.join(_SERVERS)}"


def _site_errors(where: str, site: object) -> list[str]:
    if not isinstance(site, dict):
        return [f"{where}: {site!r} is not allowed; give a mapping with name, type and domain"]
    missing = list(_missing(where, ["name", "type", "domain"], site))
    if missing:
        return missing
    if site["type"] not in _KEYS:
        return [f"{where}.type: {site['type']!r} is not allowed; one of: {', '.join(_KEYS)}"]
    shape = list(_shape_errors(where, _KEYS[site["type"]], site))
    if shape:
        return shape
    errors = list(_missing(where, _REQUIRED[site["type"]], site))
    name = site["name"]
    if not _NAME.fullmatch(name):
        errors.append(
            f"{where}.name: {name!r} is not allowed; a lower-case letter, then up to 15 letters, digits and hyphens"
        )
    elif _TAKEN.fullmatch(name):
        errors.append(f"{where}.name: {name!r} is not allowed; the system has a user or database of that name")
    errors += [
        f"{where}.{'aliases' if index else 'domain'}: {domain!r} is not allowed; give a host name such as"
        " blog.example.test"
        for index, domain in enumerate([site["domain"], *site.get("aliases", [])])
        if not _DOMAIN.fullmatch(domain)
    ]
    if not _UID_FIRST <= site.get("uid", _UID_FIRST) < _UID_FIRST + _UID_COUNT:
        errors.append(
            f"{where}.uid: {site['uid']} is not allowed; {_UID_FIRST} to {_UID_FIRST + _UID_COUNT - 1}, or none to have"
            " one worked out"
        )
    errors += _passwords(where, site)
    check = _wordpress_errors if site["type"] == "wordpress" else _static_errors
    return errors + list(check(where, site))


def _duplicates(what: str, values: list[tuple[str, Any]]) -> Iterator[str]:
    first: dict[Any, str] = {}
    for where, value in values:
        if value in first:
            yield f"{where}: the {what} {value!r} is there twice; {first[value]} has it already"
        first.setdefault(value, where)


def site_errors(sites: object, variable: str = "slipway_sites") -> list[str]:
    """Return what is wrong with the sites: the variable, its value (no secret), what is allowed.

    Duplicates are looked for only when each site by itself is right.
    """
    if not isinstance(sites, list):
        return [f"{variable}: {sites!r} is not allowed; give a list of sites"]
    errors = [error for index, site in enumerate(sites) for error in _site_errors(f"{variable}[{index}]", site)]
    if errors:
        return errors
    wheres = [(f"{variable}[{index}]", site) for index, site in enumerate(sites)]
    domains = [(f"{w}.domain", s["domain"]) for w, s in wheres]
    domains += [(f"{w}.aliases", alias) for w, s in wheres for alias in s.get("aliases", [])]
    return [
        *_duplicates("name", [(f"{w}.name", s["name"]) for w, s in wheres]),
        *_duplicates("domain", domains),
        *_duplicates("uid", [(f"{w}.uid", s.get("uid", default_uid(s["name"]))) for w, s in wheres]),
    ]


def default_uid(name: str) -> int:
    """Return the user id of a site that was given none; it doesn't change when sites come and go."""
    return _UID_FIRST + zlib.crc32(name.encode()) % _UID_COUNT


def _secrets_of(site: Site) -> dict[str, str | None]:
    """Return the secrets of a site by name, with the value where the inventory gives one."""
    if site["type"] != "wordpress":
        return {}
    found = {f"{site['name']}_{key}": site.get(key) for key in sorted(_SECRET_KEYS - {"password"})}
    for user in [site["admin"], *site.get("users", [])]:
        found[f"{site['name']}_wordpress_{user['name']}"] = user.get("password")
    return found


def secret_names(sites: list[Site]) -> list[str]:
    """Return the names of the secrets that nobody gave, so that they have to be made."""
    return [name for site in sites for name, value in _secrets_of(site).items() if value is None]


def secret_paths(names: list[str], folder: str, check: bool = False) -> list[str]:
    """Return the files of these secrets on the controller.

    In check mode nothing may be written: a file that isn't there becomes ``/dev/null``, for which
    Ansible's ``password`` lookup makes a value without keeping it.
    """
    paths = [Path(folder, name) for name in names]
    return ["/dev/null" if check and not path.exists() else str(path) for path in paths]


def complete_sites(sites: list[Site], made: dict[str, str], https_port: int = 443) -> list[Site]:
    """Return the sites with every key; ``made`` holds the secrets nobody gave, by name."""
    port = "" if https_port == 443 else f":{https_port}"  # noqa: PLR2004 - the port of HTTPS
    result: list[Site] = []
    for site in sites:
        secrets = {name: made[name] if value is None else value for name, value in _secrets_of(site).items()}
        names = [site["domain"], *site.get("aliases", [])]
        full: Site = {
            "aliases": [],
            "uid": default_uid(site["name"]),
            **site,
            "names": names,
            "url": f"https://{site['domain']}{port}",
        }
        if site["type"] == "wordpress":
            people = {f"{site['name']}_wordpress_{u['name']}": u for u in [site["admin"], *site.get("users", [])]}
            admin, *users = [{**user, "password": secrets[name]} for name, user in people.items()]
            own = {key: secrets[f"{site['name']}_{key}"] for key in _SECRET_KEYS - {"password"}}
            full = {
                "language": "en_US",
                "timezone": "UTC",
                "permalinks": "/%postname%/",
                **full,
                **own,
                "admin": admin,
                "users": users,
            }
        result.append(full)
    return result


def foreign_accounts(sites: list[Site], users: dict[str, list[str]], groups: dict[str, list[str]]) -> list[str]:
    """Return the sites whose name or id a host gave to something else, with what has it.

    ``users`` and ``groups`` are the host's accounts as the module ``getent`` returns them: the id is the second value.
    A site's own user and group have its name and its id.
    """
    errors = []
    for site in sites:
        own = (site["name"], str(site.get("uid", default_uid(site["name"]))))
        for kind, accounts in (("user", users), ("group", groups)):
            errors += [
                f"{own[0]} (uid {own[1]}): the host has the {kind} {name} with the id {number}"
                for name, (_, number, *_) in accounts.items()
                if (name, number) != own and (name == own[0] or number == own[1])
            ]
    return errors


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "slipway_site_errors": site_errors,
            "slipway_secret_names": secret_names,
            "slipway_secret_paths": secret_paths,
            "slipway_complete_sites": complete_sites,
            "slipway_foreign_accounts": foreign_accounts,
        }
