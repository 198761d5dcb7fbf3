"""What complete sites mean for each role; the playbooks' share of the knowledge, some of it as filters."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

DOCUMENTATION = r"""
name: slipway_roles
short_description: Tells what the complete sites mean for each role
description:
  - C(slipway_provider_host) and C(slipway_partners) tell who serves whom where several hosts share the work.
  - The other functions make what the action C(plan) tells each role, of sites that C(complete_sites) made.
"""

Site = dict[str, Any]
# Written in C, and many times faster, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_SALTS = [
    "AUTH_KEY",
    "SECURE_AUTH_KEY",
    "LOGGED_IN_KEY",
    "NONCE_KEY",
    "AUTH_SALT",
    "SECURE_AUTH_SALT",
    "LOGGED_IN_SALT",
    "NONCE_SALT",
]


def _wordpress(sites: list[Site]) -> list[Site]:
    return [site for site in sites if site["type"] == "wordpress"]


def _folder(site: Site) -> str:
    """Return the folder of a WordPress site; FTP is locked into it, the web root lies in it."""
    return f"/var/www/{site['name']}"


def certificates(sites: list[Site]) -> list[dict[str, Any]]:
    """Return a certificate for each site, and one for FTP, where a client may use any site's name."""
    result = [{"name": site["name"], "names": site["names"], **site["certificate"]} for site in sites]
    names = [name for site in _wordpress(sites) for name in site["names"]]
    # Its server reads it as root; nginx, which serves no such name, doesn't.
    return result + ([{"name": "ftp", "names": names, "key_gid": 0, "issuer": "local"}] if names else [])


def provider_host(host: str, providers: list[str]) -> str:
    """Return which host provides a service to ``host``: itself if it can, or else the first that does."""
    return host if host in providers else providers[0]


def client_addresses(provider: str, providers: list[str], clients: list[str], addresses: dict[str, str]) -> list[str]:
    """Return from where ``provider`` is used, ``localhost`` for itself; ``addresses`` holds the clients'."""
    mine = [client for client in clients if provider_host(client, providers) == provider]
    return ["localhost" if client == provider else addresses[client] for client in mine]


def partners(host: str, groups: dict[str, list[str]]) -> list[str]:
    """Return the other hosts that serve ``host`` its database and cache, and those that it serves."""
    found: set[str] = set()
    for client in groups.get("php", []):
        servers = {provider_host(client, groups[kind]) for kind in ("database", "cache")}
        found |= servers if client == host else {client} if host in servers else set()
    return sorted(found - {host})


def database_users(sites: list[Site], hosts: list[str]) -> list[dict[str, str]]:
    """Return a database user for each site and each host (name, address or ``%``) that it connects from.

    Upgrades of WordPress change tables, so the user keeps all rights, on its own database alone.
    """
    return [
        {
            "name": site["name"],
            "password": site["database_password"],
            "host": host,
            "priv": f"{site['name']}.*:ALL",
        }
        for site in _wordpress(sites)
        for host in hosts
    ]


def databases(sites: list[Site]) -> list[dict[str, str]]:
    """Return a database for each WordPress site."""
    return [{"name": site["name"]} for site in _wordpress(sites)]


def cache_users(sites: list[Site]) -> list[dict[str, str]]:
    """Return a cache user for each site, with the keys that are its alone."""
    return [
        {"name": site["name"], "password": site["cache_password"], "prefix": f"{site['name']}:"}
        for site in _wordpress(sites)
    ]


def php_sites(sites: list[Site], database_host: str, cache: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the WordPress sites; ``cache`` says how the cache is reached (scheme and host or path)."""
    kept = ["name", "uid", "domain", "url", "title", "language", "timezone", "permalinks", "admin", "users"]
    return [
        {key: site[key] for key in kept}
        | {key: site[key] for key in ("replicas", "memory_mb") if key in site}
        | {
            "root": f"{_folder(site)}/public",
            "database": {
                "host": database_host,
                "name": site["name"],
                "user": site["name"],
                "password": site["database_password"],
            },
            "cache": {
                **cache,
                "user": site["name"],
                "password": site["cache_password"],
                "prefix": f"{site['name']}:",
            },
            # One secret makes all eight; WordPress wants them long, different and unguessable.
            "salts": {name: hashlib.sha512(f"{site['salt_seed']}:{name}".encode()).hexdigest() for name in _SALTS},
        }
        for site in _wordpress(sites)
    ]


def static_sites(sites: list[Site], default_server: str) -> list[dict[str, Any]]:
    """Return the static sites, each with who serves it and the port of its http-server."""
    return [
        {
            "name": site["name"],
            "uid": site["uid"],
            "source": site["source"],
            "server": site.get("server", default_server),
            # Below 32768, where Linux begins to take ports for outgoing connections.
            "port": site["uid"],
        }
        for site in sites
        if site["type"] == "static"
    ]


def web_sites(
    sites: list[Site], compose: bool, replicas: int, static_dir: str, default_server: str
) -> list[dict[str, Any]]:
    """Return what nginx serves: PHP by FPM's sockets, files, or another server's answers."""
    result: list[dict[str, Any]] = []
    for site in sites:
        name = site["name"]
        entry: dict[str, Any] = {
            "name": name,
            "type": site["type"],
            "names": site["names"],
            "certificate": name,
            "directives": site.get("nginx", []),
            "acme": site["certificate"]["issuer"] == "acme",
            "hsts": site["certificate"]["issuer"] != "local",
        }
        if site["type"] == "wordpress":
            root = f"{_folder(site)}/public"
            count = site.get("replicas", replicas)
            entry |= {
                "root": root,
                "gid": site["uid"],
                # A folder of its own is a volume between two containers; a host has one folder for all.
                "upstreams": (
                    [f"unix:/run/php/{name}/{n}.sock" for n in range(1, count + 1)]
                    if compose
                    else [f"unix:/run/php/{name}.sock"]
                ),
                "mounts": [f"wordpress_{name}:{root}", f"php_{name}:/run/php/{name}"],
            }
        elif site.get("server", default_server) == "nginx":
            root = f"{static_dir}/{name}/public"
            entry |= {"root": root, "mounts": [f"{root}:{root}"]}
        else:
            entry |= {
                "type": "proxy",
                # A port that no other site has: whoever asks at an address that is another's by now gets no page.
                "upstreams": [f"{'static-' + name if compose else '127.0.0.1'}:{site['uid']}"],
            }
        result.append(entry)
    return result


def ftp_accounts(sites: list[Site]) -> list[dict[str, Any]]:
    """Return an account for each WordPress site, locked into its folder."""
    return [
        {
            "name": site["name"],
            "uid": site["uid"],
            "password": site["ftp_password"],
            "root": _folder(site),
            "mounts": [f"wordpress_{site['name']}:{_folder(site)}/public"],
        }
        for site in _wordpress(sites)
    ]


def sites_memory(sites: list[Site], default_mb: int) -> int:
    """Return what the PHP of all WordPress sites may use together, in MiB."""
    return sum(site.get("memory_mb", default_mb) for site in _wordpress(sites))


def most_workers(sites: list[Site], default_mb: int, worker_mb: int) -> int:
    """Return how many workers the largest WordPress site has, as its pool counts them; memory in MiB."""
    memories = [site.get("memory_mb", default_mb) for site in _wordpress(sites)]
    return int(max(memories, default=0) * 0.85 / max(worker_mb, 1))


def summary_sites(sites: list[Site], address: str, port: int) -> list[dict[str, Any]]:
    """Return what the summary says of the sites; no secret among it."""
    kept = ("name", "type", "domain", "url")
    return [{key: site[key] for key in kept} | {"address": address, "port": port} for site in sites]


def summary_logins(sites: list[Site], made: list[str], folder: str) -> list[dict[str, str]]:
    """Return who administers each WordPress site, where, and where the password is; never the password itself.

    ``made`` holds the names of the secrets that nobody gave, which are files in the folder.
    """
    result = []
    for site in _wordpress(sites):
        secret = f"{site['name']}_wordpress_{site['admin']['name']}"
        result.append(
            {
                "site": site["name"],
                "url": f"{site['url']}/wp-admin/",
                "user": site["admin"]["name"],
                "password": f"{folder}/{secret}" if secret in made else "as the inventory gives it",
            }
        )
    return result


def summary_certificates(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the certificates seen by the module site_answer, given its sites."""
    kept = ("name", "names", "fingerprint", "not_after")
    return [{key: answer[key] for key in kept} for answer in answers if "fingerprint" in answer]


def role_options(path: str) -> dict[str, Any]:
    """Return the options of a role's main entry point, given the path of its argument specification."""
    specification = yaml.load(Path(path).read_text(), _LOADER)  # noqa: S506 - one of the safe ones
    return dict(specification["argument_specs"]["main"]["options"])


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "slipway_provider_host": provider_host,
            "slipway_partners": partners,
        }
