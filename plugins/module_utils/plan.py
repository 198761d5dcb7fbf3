"""What each role is told, and what a host must have for it: pure functions of the sites, the groups and the settings.

The action plugin C(plan) gathers what goes in. The playbooks know the whole, so that the roles need not know each
other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..filter import slipway_roles as roles
from ..filter.slipway_sites import complete_sites

Told = dict[str, dict[str, Any]]

# What lies between two providers while a host changes from one to the other.
CHANGE_DIR = "/var/lib/slipway/provider-change"
CACHE_PORT = 6379
DATABASE_PORT = 3306
# What the system itself needs, in MiB.
SYSTEM_MEMORY_MB = 256
# Free disk for the packages, the images and the first content, in MiB.
DISK_MB = {"compose": 4096, "native": 2048}

# The variables that the plan sets, by role; before none of them can a value of the inventory go.
VARIABLES: dict[str, tuple[str, ...]] = {
    "tls_certificate": ("tls_certificate_ca_dir", "tls_certificate_certificates", "tls_certificate_key_gid"),
    "mariadb": ("mariadb_dump_dir", "mariadb_databases", "mariadb_users", "mariadb_clients", "mariadb_bind_address"),
    "redis_cache": (
        "redis_cache_users", "redis_cache_socket", "redis_cache_socket_group", "redis_cache_clients",
        "redis_cache_bind_address",
    ),
    "php_fpm_wordpress": (
        "php_fpm_wordpress_sites", "php_fpm_wordpress_stack_needs", "php_fpm_wordpress_socket_gid",
        "php_fpm_wordpress_groups",
    ),
    "static_site": ("static_site_gid", "static_site_sites"),
    "nginx_tls": ("nginx_tls_certificate_dir", "nginx_tls_sites"),
    "ftp": ("ftp_certificate_dir", "ftp_certificate", "ftp_accounts", "ftp_passive_address"),
    "host_firewall": ("host_firewall_open", "host_firewall_confined_uids"),
}  # fmt: skip
DERIVED = frozenset(name for names in VARIABLES.values() for name in names)


@dataclass(frozen=True)
class Host:
    """A host as the inventory has it.

    ``groups`` are its own, ``members`` the hosts of every group. ``private_address`` tells where a host is reached by
    the others, ``reached`` how Ansible connects to it. ``settings`` are the public variables of the roles: the
    inventory's value or the role's default.
    """

    name: str
    groups: frozenset[str]
    members: Mapping[str, list[str]]
    provider: str
    address: str
    state_dir: str
    private_address: Callable[[str], str]
    reached: Callable[[str], dict[str, Any]]
    settings: Mapping[str, Any]

    @property
    def compose(self) -> bool:
        """Whether the components are containers of one stack."""
        return self.provider == "compose"

    def server(self, group: str) -> str:
        """Return the host that this one has for a service of a group."""
        return roles.provider_host(self.name, self.members[group])

    def clients(self, group: str) -> list[str]:
        """Return from where this host's service of a group is used by PHP, ``localhost`` for itself."""
        mine = [
            name for name in self.members.get("php", []) if roles.provider_host(name, self.members[group]) == self.name
        ]
        return ["localhost" if name == self.name else self.private_address(name) for name in mine]


def sites_of(sites: list[dict[str, Any]], made: Mapping[str, str], host: Host) -> list[dict[str, Any]]:
    """Return the sites with every key; ``made`` holds the secrets nobody gave, by name."""
    settings = host.settings
    return complete_sites(
        sites, dict(made), int(settings["nginx_tls_https_port"]), str(settings["tls_certificate_issuer"])
    )


def told(host: Host, sites: list[dict[str, Any]]) -> Told:
    """Return the variables of each role that a host has, given complete sites."""
    made = {
        role: work(host, sites)
        for role, groups, work in (
            ("tls_certificate", {"web", "ftp"}, _certificates),
            ("mariadb", {"database"}, _database),
            ("redis_cache", {"cache"}, _cache),
            ("php_fpm_wordpress", {"php"}, _php),
            ("static_site", {"static"}, _static),
            ("nginx_tls", {"web"}, _web),
            ("ftp", {"ftp"}, _ftp),
        )
        if groups & host.groups
    }
    # Of what all others are told, so it comes last.
    made["host_firewall"] = _firewall(host, sites, made)
    for role, variables in made.items():
        assert tuple(variables) == VARIABLES[role], role  # noqa: S101 - a mistake of this file
    return made


def roles_of(host: Host, components: list[dict[str, Any]]) -> list[str]:
    """Return the roles of what a host serves with, in the order of a run."""
    certificates = ["tls_certificate"] if {"web", "ftp"} & host.groups else []
    return certificates + [
        one["role"]
        for one in components
        if one["group"] in host.groups and one.get("provider", host.provider) == host.provider
    ]


def _key_gid(host: Host) -> int:
    # Packaged servers read their keys as root.
    return int(host.settings["nginx_tls_container_uid"]) if host.compose else 0


def _certificates(host: Host, sites: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "tls_certificate_ca_dir": f"{host.state_dir}/ca",
        "tls_certificate_certificates": roles.certificates(sites),
        "tls_certificate_key_gid": _key_gid(host),
    }


def _listening(host: Host, clients: list[str]) -> tuple[list[str], str]:
    """Return the other hosts among those that use a service, and the address where it listens for them."""
    others = [client for client in clients if client != "localhost"]
    return others, host.private_address(host.name) if others else ""


def _database(host: Host, sites: list[dict[str, Any]]) -> dict[str, Any]:
    # In the stack names serve; between packages, sockets on one host and addresses between two.
    clients = [] if host.compose else host.clients("database")
    others, address = _listening(host, clients)
    return {
        "mariadb_dump_dir": CHANGE_DIR,
        "mariadb_databases": roles.databases(sites),
        "mariadb_users": roles.database_users(sites, ["%"] if host.compose else clients),
        "mariadb_clients": others,
        "mariadb_bind_address": address,
    }


CACHE_SOCKET = "/var/lib/slipway/cache/cache.sock"
CACHE_GROUP = "slipway-cache"


def _cache(host: Host, sites: list[dict[str, Any]]) -> dict[str, Any]:
    others, address = _listening(host, [] if host.compose else host.clients("cache"))
    return {
        "redis_cache_users": roles.cache_users(sites),
        "redis_cache_socket": CACHE_SOCKET,
        "redis_cache_socket_group": CACHE_GROUP,
        "redis_cache_clients": others,
        "redis_cache_bind_address": address,
    }


def _php(host: Host, sites: list[dict[str, Any]]) -> dict[str, Any]:
    database, cache = host.server("database"), host.server("cache")
    if host.compose:
        at, cache_at = "mariadb", {"scheme": "tcp", "host": "redis", "port": CACHE_PORT}
    else:
        here = database == host.name
        at = "localhost:/run/mysqld/mysqld.sock" if here else host.private_address(database)
        cache_at = (
            {"scheme": "unix", "path": CACHE_SOCKET}
            if cache == host.name
            else {"scheme": "tcp", "host": host.private_address(cache), "port": CACHE_PORT}
        )
    return {
        "php_fpm_wordpress_sites": roles.php_sites(sites, at, cache_at),
        "php_fpm_wordpress_stack_needs": ["mariadb"],
        # nginx's, in the stack.
        "php_fpm_wordpress_socket_gid": int(host.settings["nginx_tls_container_uid"]),
        "php_fpm_wordpress_groups": [CACHE_GROUP] if cache_at["scheme"] == "unix" else [],
    }


def _static(host: Host, sites: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "static_site_gid": _key_gid(host),
        "static_site_sites": roles.static_sites(sites, host.settings["static_site_server"]),
    }


def _web(host: Host, sites: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "nginx_tls_certificate_dir": host.settings["tls_certificate_dir"],
        "nginx_tls_sites": roles.web_sites(
            sites,
            host.compose,
            int(host.settings["php_fpm_wordpress_replicas"]),
            host.settings["static_site_dir"],
            host.settings["static_site_server"],
        ),
    }


def _ftp(host: Host, sites: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "ftp_certificate_dir": host.settings["tls_certificate_dir"],
        "ftp_certificate": "ftp",
        "ftp_accounts": roles.ftp_accounts(sites),
        "ftp_passive_address": host.address,
    }


def _firewall(host: Host, sites: list[dict[str, Any]], plan: Told) -> dict[str, Any]:
    # Database and cache are there for their clients alone; those of a port that everybody may use aren't told.
    clients = {
        "mariadb_bind_address": plan.get("mariadb", {}).get("mariadb_clients", []),
        "redis_cache_bind_address": plan.get("redis_cache", {}).get("redis_cache_clients", []),
    }
    return {
        "host_firewall_open": [
            {
                **{key: one[key] for key in ("port", "first", "last") if key in one},
                "sources": clients.get(one["variable"], []),
                "comment": one["variable"],
            }
            for one in [*ports(host, plan), *port_ranges(host, plan)]
        ],
        # In the stack the sites are containers.
        "host_firewall_confined_uids": [] if host.compose else sorted({int(site["uid"]) for site in sites}),
    }


def memory_mb(
    host: Host, sites: list[dict[str, Any]], plan: Told, components: list[dict[str, Any]], opcache_mb: int
) -> int:
    """Return the memory of all that runs on the host together, and of the system itself, in MiB."""
    needed = SYSTEM_MEMORY_MB
    for component in components:
        if "memory" not in component or component["group"] not in host.groups:
            continue
        each = int(host.settings[component["memory"]])
        if component["group"] == "php":
            # Packages share one cache of compiled PHP; each container has its own, within its memory.
            needed += roles.sites_memory(sites, each) + (0 if host.compose else opcache_mb)
        elif component["group"] == "static":
            servers = [site for site in plan["static_site"]["static_site_sites"] if site["server"] == "http-server"]
            needed += each * len(servers)
        else:
            needed += each
    return needed


def disk_mb(given: Any) -> int:
    """Return the free disk that a host must have, in MiB. Raises ValueError for what is no number."""
    try:
        return int(given)
    except (TypeError, ValueError):
        raise ValueError(f"slipway_disk_min_mb: {given!r} is not allowed; give a number of MiB") from None


def disk_parts(host: Host) -> dict[str, float]:
    """Return which share of the disk goes below which path, since these may be file systems of their own.

    What a change of the provider copies goes below the last.
    """
    if not host.compose:
        return {"/": 0.4, "/var": 0.4, "/srv": 0.05, "/var/www": 0.15}
    return {
        "/": 0.15,
        "/var": 0.1,
        host.settings["docker_engine_daemon_options"].get("data-root", "/var/lib/docker"): 0.5,
        host.settings["container_stack_dir"]: 0.0,
        host.settings["container_stack_volumes_dir"]: 0.25,
    }


def ports(host: Host, plan: Told) -> list[dict[str, Any]]:
    """Return the ports that the host is to listen on, each with the variable that sets it."""
    found: list[tuple[str, int]] = []
    if "nginx_tls" in plan:
        found += [(name, host.settings[name]) for name in ("nginx_tls_https_port", "nginx_tls_http_port")]
    if plan.get("ftp", {}).get("ftp_accounts"):
        found.append(("ftp_port", host.settings["ftp_port"]))
    # Only where other hosts are let in.
    for role, variable, port in (
        ("mariadb", "mariadb_bind_address", DATABASE_PORT),
        ("redis_cache", "redis_cache_bind_address", CACHE_PORT),
    ):
        if plan.get(role, {}).get(variable):
            found.append((variable, port))
    return [{"variable": name, "port": int(port)} for name, port in found]


def port_ranges(host: Host, plan: Told) -> list[dict[str, Any]]:
    """Return the ranges of ports that the stack publishes beside those, with the variable that sets each."""
    given = host.settings["ftp_passive_ports"]
    # That there are two of them is for the role to say.
    if not plan.get("ftp", {}).get("ftp_accounts") or not given:
        return []
    return [{"variable": "ftp_passive_ports", "first": int(given[0]), "last": int(given[-1])}]


def port_clashes(ports: list[dict[str, Any]], ranges: list[dict[str, Any]]) -> list[str]:
    """Return a line for each two of the ports and ranges of ours that are, or hold, the same one."""
    spans = [(one["variable"], one["port"], one["port"]) for one in ports]
    spans += [(one["variable"], one["first"], one["last"]) for one in ranges]
    return [
        f"{name}: {first if first == last else f'{first} to {last}'} is not allowed beside {other}; give each a port of"
        " its own"
        for number, (other, begin, end) in enumerate(spans)
        for name, first, last in spans[number + 1 :]
        if first <= end and begin <= last
    ]


def programs(components: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return which programs listen on the ports of ours, by provider; none where a host has none yet."""
    listed = [component for component in components if "programs" in component]
    return {
        "": [],
        "compose": [name for one in listed if "provider" in one for name in one["programs"]],
        "native": [name for one in listed if "provider" not in one for name in one["programs"]],
    }


def figures(
    host: Host, sites: list[dict[str, Any]], plan: Told, components: list[dict[str, Any]], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the playbooks themselves have to know of a host: what it needs, and who serves it.

    ``settings`` are variables beside the public ones of the roles: their private ones, and C(slipway_disk_min_mb).
    """
    native = [component for component in components if "provider" not in component]
    own_ports, own_ranges = ports(host, plan), port_ranges(host, plan)
    return {
        # Whom visitors reach comes first.
        "__slipway_native_roles": native[::-1],
        "__slipway_programs": programs(components),
        "__slipway_change_dir": CHANGE_DIR,
        "__slipway_https_port": int(host.settings["nginx_tls_https_port"]),
        "__slipway_ca_certificate": f"{host.state_dir}/ca/ca.crt",
        "__slipway_memory_mb": memory_mb(host, sites, plan, components, settings["__php_fpm_wordpress_opcache_mb"]),
        "__slipway_disk_mb": disk_mb(settings.get("slipway_disk_min_mb", DISK_MB[host.provider])),
        "__slipway_disk_parts": disk_parts(host),
        "__slipway_ports": own_ports,
        "__slipway_port_ranges": own_ranges,
        "__slipway_port_clashes": port_clashes(own_ports, own_ranges),
        "__slipway_workers": roles.most_workers(
            sites,
            int(host.settings["php_fpm_wordpress_memory_mb"]),
            int(host.settings["php_fpm_wordpress_worker_mb"]),
        ),
        # The sites without their passwords.
        "__slipway_names": [
            {"name": site["name"], "names": site["names"], "local": site["certificate"]["issuer"] == "local"}
            for site in sites
        ],
        "__slipway_summary_sites": [
            {**site, "host": host.name}
            for site in roles.summary_sites(sites, host.address, int(host.settings["nginx_tls_https_port"]))
        ],
        "__slipway_summary_host": {
            "name": host.name,
            "provider": host.provider,
            "ssh": host.reached(host.name),
            "backends": (
                {kind: host.reached(host.server(kind)) for kind in ("database", "cache")}
                if "php" in host.groups
                else {}
            ),
        },
    }


def masked(value: Any, secrets: frozenset[str]) -> Any:
    """Return a value with every key that holds a secret masked, at any depth."""
    if isinstance(value, dict):
        return {key: "********" if key in secrets and inner else masked(inner, secrets) for key, inner in value.items()}
    return [masked(inner, secrets) for inner in value] if isinstance(value, list) else value


def secret_keys(options: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the options that hold a secret, at any depth of a role's specification."""
    found: set[str] = set()
    for name, option in options.items():
        if option.get("no_log"):
            found.add(name)
        found |= secret_keys(option.get("options") or {})
    return frozenset(found)


def shown(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a host needs, of its figures, by the names that people know."""
    kept = ("memory_mb", "disk_mb", "disk_parts", "ports", "port_ranges")
    return {name: figures[f"__slipway_{name}"] for name in kept}
