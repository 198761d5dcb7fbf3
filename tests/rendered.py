"""Every file that the roles write, for every platform and provider, made by one run of ansible-playbook.

The roles run as they are, with their own defaults, vars, loops and conditions and with what the plan tells them,
but for two changes: what a role writes goes to a folder here, and whatever would look at a host or change
it does nothing. So Ansible's own templating makes each file, and the tests can hand it to the program that reads it.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.plan import DERIVED
from tests.repository import BLOCKS, COMPONENTS, ROLES, ROOT, load, module_of

DATA = Path(__file__).parent / "data"


# What the playbooks accept: the platforms of each provider, such as "Debian 13".
ACCEPTED: dict[str, list[str]] = load(ROOT / "playbooks/vars/requirements.yml")["__slipway_platforms"]
# The service managers that a family may run.
MANAGERS = {"Debian": ("systemd", "openrc"), "Alpine": ("openrc",)}
CODENAMES = {"Debian 12": "bookworm", "Debian 13": "trixie", "Ubuntu 24.04": "noble"}
# Whose programs stand in where a platform's own can't be had: the nearest releases of Debian.
READERS = {"noble": "bookworm", "": "trixie"}
# What Ansible calls the family of what isn't one itself.
FAMILIES = {"Ubuntu": "Debian"}


@dataclass(frozen=True)
class Platform:
    """A platform as the playbooks name it, and its service manager; what a host's facts say of that."""

    title: str
    manager: str

    @property
    def distribution(self) -> str:
        return self.title.partition(" ")[0]

    @property
    def family(self) -> str:
        return FAMILIES.get(self.distribution, self.distribution)

    @property
    def release(self) -> str:
        return self.title.partition(" ")[2]

    @property
    def codename(self) -> str:
        # A release of Debian without one is no release that the test knows.
        return CODENAMES[self.title] if self.family == "Debian" else ""

    @property
    def reader(self) -> str:
        """The release of Debian whose programs read the files."""
        return READERS.get(self.codename, self.codename)

    @property
    def version(self) -> str:
        # Of Alpine's three numbers two are a release.
        return f"{self.release}.1" if self.distribution == "Alpine" else self.release

    @property
    def name(self) -> str:
        plain = re.sub(r"[ .]", "", self.title.lower())
        return f"{plain}-{self.manager}" if len(MANAGERS[self.family]) > 1 else plain

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "os_family": self.family,
            "distribution": self.distribution,
            "distribution_release": self.codename,
            "distribution_version": self.version,
            # Ansible takes the first number; Alpine's releases are told by two.
            "distribution_major_version": self.release.partition(".")[0],
            "service_mgr": self.manager,
            "pkg_mgr": "apk" if self.family == "Alpine" else "apt",
            "architecture": "x86_64",
            "processor_nproc": 2,
            "processor_vcpus": 2,
            "memtotal_mb": 4096,
            "default_ipv4": {"address": "192.0.2.7", "interface": "eth0"},
            "default_ipv6": {},
            "all_ipv4_addresses": ["192.0.2.7"],
            "all_ipv6_addresses": ["2001:db8::7", "fe80::7"],
            "hostname": self.name,
            "nodename": self.name,
            "fqdn": f"{self.name}.example.test",
            "python_version": "3.13.0",
            "python": {"version": {"major": 3, "minor": 13}},
            "kernel": "6.12.0",
            "mounts": [],
            "services": {},
            "user_id": "root",
            "user_uid": 0,
            "env": {},
            "date_time": {"epoch": "1790000000"},
            "virtualization_type": "kvm",
        }


# Not valid anywhere unless it is quoted as it must be: what a password or a title may hold.
AWKWARD = 'it\'s "50 %" $HOME \\ #1; <é> & `x` {'
SECRETS = {
    name: f"{AWKWARD} {name} secret" for name in ("captain", "mate", "database", "cache", "ftp", "salt", "keeper")
}
GIVEN = {
    "database_password": SECRETS["database"],
    "cache_password": SECRETS["cache"],
    "ftp_password": SECRETS["ftp"],
    "salt_seed": SECRETS["salt"],
}
SITES: list[dict[str, Any]] = [
    {
        "name": "blog",
        "type": "wordpress",
        "domain": "blog.example.test",
        "aliases": ["www.blog.example.test"],
        "title": f"The captain's log: {AWKWARD}",
        "timezone": "Europe/Berlin",
        "nginx": ["location = /health { return 204; }", "add_header X-Own 'a; {b}' always; # of ours"],
        "admin": {"name": "captain", "email": "captain@example.test", "password": SECRETS["captain"]},
        "users": [
            {
                "name": "mate",
                "email": "mate@example.test",
                "role": "editor",
                "password": SECRETS["mate"],
            }
        ],
        **GIVEN,
    },
    {
        "name": "journal",
        "type": "wordpress",
        "domain": "journal.example.test",
        # Longer than what nginx takes by itself.
        "aliases": [".".join(["a" * 60, "b" * 60, "c" * 60, "example.test"])],
        "title": "Journal",
        "replicas": 2,
        "admin": {
            "name": "keeper",
            "email": "keeper@example.test",
            "password": SECRETS["keeper"],
        },
        **GIVEN,
    },
    {
        "name": "docs",
        "type": "static",
        "domain": "docs.example.test",
        "source": {"folder": str(ROOT / "tests/data")},
    },
    {
        "name": "manual",
        "type": "static",
        "domain": "manual.example.test",
        "source": {"folder": str(ROOT / "tests/data")},
        "server": "http-server",
    },
]


# Settings of the users' own.
OPTIONS: dict[str, Any] = {
    "nginx_tls_options": {
        "etag": False,
        "map_hash_max_size": 4096,
        "log_format": ["short $host", "long '$host {$uri};'"],
    },
    # The first one over one of the role.
    "host_ssh_options": {"loglevel": "INFO", "Banner": "none"},
    "ftp_options": {"ftpd_banner": "Harbour: files", "local_umask": 18, "use_localtime": True},
}


# An image that is given, and pinned as it must be.
BASE_IMAGE = f"registry.example.test/base@sha256:{'0' * 64}"


# What a variable changes that ends so.
MOVABLE = re.compile(
    r"_(ports?|dir|path|socket|uid|gid|user|group|address|addresses|subnet|hostname|project|certificate|name)$"
)


def movable() -> dict[str, Any]:
    """Return the documented variables that change a port, a path, an id, an address or a name, with their defaults.

    Those left out follow from others, or have no default that could be told from an accident.
    """
    found: dict[str, Any] = {}
    for role in ROLES:
        defaults = load(role / "defaults/main.yml") or {}
        for name, option in load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"].items():
            value = defaults.get(name)
            if (
                (option["type"] == "path" or MOVABLE.search(name))
                and name not in DERIVED
                and value
                and "{{" not in str(value)
            ):
                found[name] = value
    return found


def moved(name: str, value: Any) -> Any:
    """Return a value away from the default of a variable."""
    if isinstance(value, list):
        return [moved(name, one) for one in value]
    if isinstance(value, int):
        return value + 8000
    return f"/away{value}" if value.startswith("/") else f"away-{value}"


@dataclass(frozen=True)
class Host:
    """One way to be served: a platform, a provider, whether database and cache are on another host, the system in the
    images where it is given, whether all sites are files that nginx serves, whether all that can be moved is away
    from its default, behind a proxy, and whether its kernel has no IPv6."""

    platform: Platform
    provider: str
    apart: bool = False
    base: str = ""
    files: bool = False
    away: bool = False
    ipv4: bool = False

    @property
    def name(self) -> str:
        words = [word for word in ("apart", "files", "away", "ipv4") if getattr(self, word)]
        return "-".join([self.platform.name, self.provider, *words, *self.base.split()])

    @property
    def sites(self) -> list[dict[str, Any]]:
        return [site for site in SITES if site["name"] == "docs"] if self.files else SITES

    @property
    def facts(self) -> dict[str, Any]:
        return self.platform.facts | ({"all_ipv6_addresses": []} if self.ipv4 else {})

    @property
    def variables(self) -> dict[str, Any]:
        image = {"container_stack_base_platform": self.base, "container_stack_base_image": BASE_IMAGE}
        away = {name: moved(name, value) for name, value in movable().items()}
        proxies = {"nginx_tls_trusted_proxies": ["127.0.0.0/8"]}
        options = {} if self.files else OPTIONS
        return (image if self.base else {}) | (away | proxies if self.away else {}) | options


DEBIAN = Platform("Debian 13", "systemd")
ALPINE = Platform("Alpine 3.23", "openrc")
# Each provider, service manager and family of systems once, one of each provider without IPv6: what `make test-fast`
# looks at.
FEW = [
    Host(DEBIAN, "compose"),
    Host(DEBIAN, "native"),
    Host(ALPINE, "native"),
    Host(DEBIAN, "compose", ipv4=True),
    Host(DEBIAN, "native", ipv4=True),
]
# What differs from those in a value here and there. Rendering takes seconds for each host.
OTHERS = [
    # All else that a run is let through on.
    *(
        host
        for provider, titles in ACCEPTED.items()
        for title in titles
        for manager in MANAGERS[Platform(title, "").family]
        if (host := Host(Platform(title, manager), provider)) not in FEW
    ),
    Host(DEBIAN, "native", apart=True),
    Host(DEBIAN, "compose", files=True),
    Host(DEBIAN, "native", files=True),
    Host(DEBIAN, "compose", away=True),
    Host(DEBIAN, "native", away=True),
    # Images of the other family.
    Host(DEBIAN, "compose", base="Alpine-3.23"),
    Host(ALPINE, "compose", base="Debian-13"),
]
HOSTS = [*FEW, *OTHERS]
# Serves those that have no database and cache of their own.
BACKEND = next(host for host in OTHERS if host.provider == "native" and not host.apart)

# They come along with others.
SERVES = {"container_stack", "service_unit"}
ORDER = [
    "host_baseline",
    "host_firewall",
    "host_ssh",
    "host_kernel",
    "host_time",
    "host_updates",
    "tls_certificate",
    *(component["role"] for component in COMPONENTS if component["role"] not in SERVES),
]


def runs(role: str, host: Host) -> bool:
    """Tell whether a role has anything to do on a host."""
    if role in ("docker_engine", "container_stack"):
        return host.provider == "compose"
    return not (host.apart and role in ("mariadb", "redis_cache"))


def marks(host: Host) -> list[pytest.MarkDecorator]:
    """Return the marks of a test of a host."""
    return [pytest.mark.platforms] if host in OTHERS else []


def _each(hosts: list[Host]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("host", [pytest.param(host, id=host.name, marks=marks(host)) for host in hosts])


every_host = _each(HOSTS)
every_wordpress_host = _each([host for host in HOSTS if not host.files])
every_wordpress_stack_of_systemd = _each(
    [host for host in HOSTS if (host.files, host.provider, host.platform.manager) == (False, "compose", "systemd")]
)


# What is done as it is written; all else is stood in for.
REAL = {
    "set_fact",
    "include_vars",
    "include_tasks",
    "import_tasks",
    "include_role",
    "import_role",
}
# Actions that the test has its own plugins of.
OWN = {"managed_files", "guarded_change", "service_units", "stack_project", "stack_service"}
# How and where a task runs, which is here and now.
DROPPED = {
    "notify",
    "become",
    "become_user",
    "delegate_to",
    "delegate_facts",
    "run_once",
    "check_mode",
    "async",
    "poll",
    "until",
    "retries",
    "delay",
    "changed_when",
    "failed_when",
    "environment",
    "throttle",
    "ignore_errors",
    "rescue",
}


def _here(module: str, arguments: Any) -> dict[str, Any]:
    """Return a module and its arguments as they are run here; empty if it would look at a host or change it."""
    short = module.rsplit(".", 1)[-1]
    # The test's own plugins of these names render as the real ones do.
    if short in REAL or short in OWN:
        return {module: arguments}
    if short in ("template", "copy"):
        # Copy by its short name, which the test's own plugin answers to.
        name = module if short == "template" else short
        return {name: {key: value for key, value in arguments.items() if key != "validate"}}
    if short in ("blockinfile", "lineinfile") and arguments.get("state") != "absent":
        text = arguments["block" if short == "blockinfile" else "line"]
        return {"add": {"path": arguments["path"], "text": text, "mode": arguments.get("mode", "0644")}}
    return {}


def _stood_in(task: dict[str, Any], asked: Counter[str]) -> dict[str, Any] | None:
    """Return a task as it is run here; none if it has nothing to do here.

    ``asked`` tells how often each word stands in the role's files.
    """
    kept = {key: value for key, value in task.items() if key not in DROPPED}
    if "block" in kept:
        for key in BLOCKS:
            if key in kept:
                kept[key] = stood_in(kept[key], asked)
        return kept if kept["block"] else None
    module = module_of(kept)
    if module is None:
        return kept
    here = _here(module, kept.pop(module))
    # Only an answer that someone asks for is worth the time.
    if not here and asked[kept.get("register", "")] > 1:
        here = {"stand_in": {}}
    return {**kept, **here} if here else None


def stood_in(tasks: list[dict[str, Any]] | None, asked: Counter[str]) -> list[dict[str, Any]]:
    """Return tasks as they are run here."""
    return [done for task in tasks or [] if (done := _stood_in(task, asked)) is not None]


def _write_roles(folder: Path) -> None:
    # A role may ask what another one has answered.
    sources = [path for role in ROLES for part in ("tasks", "templates", "vars") for path in (role / part).rglob("*")]
    texts = [path.read_text(encoding="utf-8") for path in sources if path.is_file()]
    asked = Counter(re.findall(r"\w+", "\n".join(texts)))
    for role in ROLES:
        copied = folder / role.name
        for path in role.iterdir():
            # What a role of ours hands to another one is checked where a host runs it; here it would take a third
            # of the time.
            if path.name in ("tasks", "handlers") or (path.name == "meta" and role.name in SERVES):
                continue
            copied.mkdir(parents=True, exist_ok=True)
            (copied / path.name).symlink_to(path)
        for path in role.glob("tasks/**/*.yml"):
            target = copied / path.relative_to(role)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(yaml.safe_dump(stood_in(load(path), asked), sort_keys=False))


def _playbook(hosts: list[Host]) -> list[dict[str, Any]]:
    facts = {name: f"{{{{ facts['{name}'] }}}}" for name in DEBIAN.facts}
    every = {"hosts": "all", "gather_facts": False}
    plays: list[dict[str, Any]] = [
        {**every, "tasks": [{"ansible.builtin.set_fact": {"cacheable": True, **facts}}]},
        # Ends the run with what is wrong.
        {**every, "any_errors_fatal": True, "tasks": [{"slipway.stack.plan": {"final": False}}]},
    ]
    mine = {role: ",".join(host.name for host in hosts if runs(role, host)) for role in ORDER}
    plays += [
        {**every, "hosts": names, "tasks": [{"include_role": {"name": role, "tasks_from": "validate"}}]}
        for role, names in mine.items()
        if names
    ]
    plays.append({**every, "any_errors_fatal": True, "tasks": [{"slipway.stack.plan": {"final": True}}]})
    plays += [
        {**every, "hosts": names, "ignore_errors": True, "roles": [role]} for role, names in mine.items() if names
    ]
    return plays


def _inventory(hosts: list[Host], folder: Path) -> dict[str, Any]:
    variables = {
        host.name: {
            "facts": host.facts,
            "slipway_provider": host.provider,
            "slipway_sites": host.sites,
            "slipway_state_dir": str(folder / "state"),
            "slipway_address": f"192.0.2.{number}",
            **host.variables,
        }
        for number, host in enumerate(hosts, 1)
    }
    everyone: dict[str, Any] = {host.name: {} for host in hosts}
    groups: dict[str, Any] = {name: {"hosts": everyone} for name in ("docker_hosts", "web", "php", "ftp", "static")}
    # The first of a group serves those that aren't in it.
    together: dict[str, Any] = {
        host.name: {} for host in sorted(hosts, key=lambda host: host != BACKEND) if not host.apart
    }
    groups |= {name: {"hosts": together} for name in ("database", "cache")}
    return {"all": {"hosts": variables, "children": groups}}


CONFIGURATION = f"""\
[defaults]
collections_path = {ROOT}/.collections
roles_path = roles
action_plugins = {DATA}/action_plugins
callback_plugins = {DATA}/callback_plugins
callbacks_enabled = failures
inject_facts_as_vars = False
gathering = explicit
forks = 4
localhost_warning = False
deprecation_warnings = False
"""


@dataclass(frozen=True)
class Rendered:
    """What a run made: a folder for each host, and what failed."""

    folder: Path

    def root(self, host: Host) -> Path:
        return self.folder / "hosts" / host.name

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    @property
    def failures(self) -> list[dict[str, str]]:
        path = self.folder / "failures"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _run(folder: Path, hosts: list[Host]) -> None:
    _write_roles(folder / "roles")
    inventory = folder / "inventory"
    inventory.mkdir()
    (inventory / "group_vars").symlink_to(ROOT / "inventory/group_vars")
    (inventory / "hosts.json").write_text(json.dumps(_inventory(hosts, folder)))
    (folder / "site.yml").write_text(json.dumps(_playbook(hosts)))
    (folder / "ansible.cfg").write_text(CONFIGURATION)
    program = str(Path(sys.executable).parent / "ansible-playbook")
    with (folder / "output").open("w") as output:
        subprocess.run(
            # All that there is to say, because secrets must not be in it.
            [program, "-vvv", "-c", "local", "-i", str(inventory), "site.yml"],
            cwd=folder,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
                # Whatever the caller runs playbooks with: the run here knows none of the plugins of the repository.
                "ANSIBLE_STRATEGY": "linear",
                "RENDER_ROOT": str(folder / "hosts"),
                "RENDER_FAILURES": str(folder / "failures"),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )


def _inputs() -> str:
    """Return a digest of all that the files are made of."""
    digest = hashlib.sha256()
    folders = ("roles", "plugins", "playbooks/vars", "inventory/group_vars", "tests/data")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    for path in sorted([*paths, Path(__file__), ROOT / "tests/repository.py"]):
        if path.is_file():
            digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def render(host: Host) -> Rendered:
    """Return what the roles write on a host and on those that are rendered with it.

    Made once for all test processes, and again when anything of it changed.
    """
    together = OTHERS if host in OTHERS else FEW
    shared = ROOT / ".slipway/rendered" / ("others" if host in OTHERS else "few")
    shared.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = shared / _inputs()
        if not (folder / "done").exists():
            for old in shared.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            folder.mkdir()
            _run(folder, together)
            (folder / "done").touch()
    return Rendered(folder)
