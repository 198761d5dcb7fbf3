"""Targets: containers that behave like VMs. Made by :func:`create`, removed by :func:`destroy`."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import cache, engine, images, network, platforms, ssh
from lab.base import LABEL, PREFIX, ROOT, ROOT_LABEL, STATE, LabError, run, say, succeeds, wait_for
from lab.engine import docker
from lab.images import Access
from lab.platforms import Platform

FOLDER = STATE / "targets"
# Seconds from the start of the container to a shell by ssh.
BOOT_TIMEOUT = 120
# Names the lab uses for itself.
RESERVED = {"cache", "files", "mirror"}

# What a target may do where the engine can't give a container all privileges, because a capability is missing on the
# machine itself. Docker and systemd work in it. The last but one is needed with cgroup version 1, harmless with 2.
PRIVILEGES = (
    *("--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--cap-drop=SYS_TIME", "--cap-drop=SYS_MODULE"),
    *("--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"),
    *("--security-opt=systempaths=unconfined", "--device-cgroup-rule=a *:* rwm"),
    *("--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", "--cgroupns=host"),
)


# What tells Ansible how the user becomes root, by Platform.become; sudo is ansible.cfg's. No doas asks for a password
# here, so Ansible may send modules through it.
BECOME = {
    "sudo": {},
    "doas": {"ansible_become_method": "community.general.doas", "ansible_doas_allow_pipelining": "true"},
}


@dataclass(frozen=True)
class Target:
    """One target. ``groups`` are the inventory's; None keeps the target out of inventory/lab.yml."""

    name: str
    platform: str
    address: str
    groups: tuple[str, ...] | None = None

    @property
    def container(self) -> str:
        """Return the name of its container."""
        return container(self.name)


def container(name: str) -> str:
    """Return the name of a target's container."""
    return f"{PREFIX}-{name}"


def _volume(name: str) -> str:
    return f"{PREFIX}-{name}-docker"


def known() -> list[Target]:
    """Return the targets there are, by name."""
    found = []
    for path in sorted(FOLDER.glob("*/target.json")):
        data = json.loads(path.read_text())
        groups = data.pop("groups")
        found.append(Target(**data, groups=None if groups is None else tuple(groups)))
    return found


def find(name: str) -> Target | None:
    """Return the target of this name, if the lab made one."""
    return next((target for target in known() if target.name == name), None)


def _write(target: Target) -> None:
    folder = FOLDER / target.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "target.json").write_text(json.dumps(asdict(target), indent=1) + "\n")


def exists(name: str) -> bool:
    """Tell whether the container of a target is there, running or not."""
    return bool(docker("ps", "-aq", "--filter", f"name=^{container(name)}$"))


def _is_ours(name: str) -> bool:
    """Tell whether this checkout made the container of a target."""
    label = f'{{{{index .Config.Labels "{ROOT_LABEL}"}}}}'
    return docker("inspect", "--format", label, container(name)) == str(ROOT)


def answers(target: Target) -> bool:
    """Tell whether a target gives a shell by ssh."""
    return succeeds(*ssh.command(target.address, "true"), timeout=15)


def privileges(image: str) -> tuple[str, ...]:
    """Return the options that give a container what a VM may do, as far as this machine can."""
    probe = ["run", "--rm", "--label", LABEL, "--network=none", "--privileged", image, "true"]
    if succeeds("docker", *probe):
        mode = "private" if engine.cgroup_version() == 2 else "host"  # noqa: PLR2004
        volume = ("--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",) if mode == "host" else ()
        return ("--privileged", f"--cgroupns={mode}", *volume)
    return PRIVILEGES


def create(name: str, platform: str = platforms.DEFAULT, groups: tuple[str, ...] | None = None) -> Target:
    """Make a target, or bring an existing one up; return it when it gives a shell by ssh.

    Raises :class:`LabError` if the name is taken by a target of another platform or can't be used.
    """
    kind = platforms.find(platform)
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name) or name in RESERVED:
        raise LabError(f"{name!r} is no name for a target: lower-case letters, digits and hyphens")
    engine.ensure()
    engine.refuse_foreign()
    old = find(name)
    if old and old.platform != kind.name:
        raise LabError(f"target {name} exists as {old.platform}; destroy it first")
    if old and exists(name):
        target = Target(name, old.platform, old.address, old.groups if groups is None else groups)
        if docker("inspect", "--format", "{{.State.Running}}", target.container) != "true":
            docker("start", target.container)
        _write(target)
    elif exists(name) and not _is_ours(name):
        raise LabError(f"container {container(name)} exists, and is not of this lab")
    else:
        # What an interrupted call left behind is of no use.
        docker("rm", "--force", "--volumes", container(name), check=False)
        docker("volume", "rm", "--force", _volume(name), check=False)
        target = _make(name, kind, groups)
    wait_until_ready(target)
    return target


def _make(name: str, kind: Platform, groups: tuple[str, ...] | None) -> Target:
    subnet = network.ensure()
    access = cache.ensure(subnet)
    image = kind.image(access)
    say(f"starting target {name} ({kind.name})")
    taken = [target.address for target in known()]
    target = Target(name, kind.name, network.free_host(subnet, taken), groups)
    granted = privileges(image)
    docker("volume", "create", "--label", LABEL, _volume(name))
    docker(
        *("create", "--name", target.container, "--hostname", name),
        *("--label", LABEL, "--label", f"{ROOT_LABEL}={ROOT}"),
        *("--restart", "always", "--network", network.NAME),
        *("--ip", target.address, "--ip6", network.host_ipv6(target.address)),
        # Nothing can be run from /tmp, as on a hardened VM.
        *("--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:noexec"),  # noqa: S108 - a mount in the target
        *("--volume", f"{_volume(name)}:/var/lib/docker"),
        *granted,
        *(image, platforms.INIT_PATH, *kind.command(engine.cgroup_version())),
    )
    _personalise(target, access, kind)
    for path, content in kind.limited.items() if granted == PRIVILEGES else ():
        images.put(target.container, path, content, 0o755)
    _write(target)
    docker("start", target.container)
    return target


def _personalise(target: Target, access: Access, kind: Platform) -> None:
    """Put into a stopped container what makes it one VM among others."""
    give_keys(target.container, target.name, target.address, FOLDER / target.name)
    if kind.service_manager == "systemd":
        give_machine_id(target.container)
    resolvers = network.nameservers()
    if resolvers:
        content = "".join(f"nameserver {address}\n" for address in resolvers)
        images.put(target.container, platforms.RESOLV_CONF_PATH, content)
    if kind.family == "Debian":
        images.use_cache(target.container, access)


def give_keys(container: str, name: str, address: str, folder: Path) -> None:
    """Put the lab's key and a new host key into a container; the host key is kept in ``folder`` and pinned."""
    ssh.make_key(ssh.KEY, f"{PREFIX}-lab")
    host_key = folder / "ssh_host_ed25519_key"
    host_key.unlink(missing_ok=True)
    ssh.make_key(host_key, name)
    ssh.pin(address, ssh.public(host_key))
    images.put(container, "/etc/ssh/ssh_host_ed25519_key", host_key.read_text(), 0o600)
    images.put(container, "/etc/ssh/ssh_host_ed25519_key.pub", ssh.public(host_key) + "\n")
    keys = f"/home/{platforms.USER}/.ssh/authorized_keys"
    images.put(container, keys, ssh.public(ssh.KEY) + "\n", 0o600, platforms.USER_ID)


def give_machine_id(container: str) -> None:
    """Give a container with systemd an identity of its own."""
    images.put(container, "/etc/machine-id", secrets.token_hex(16) + "\n", 0o444)


def wait_until_ready(target: Target) -> None:
    """Wait until a target has booted and gives a shell by ssh."""
    ready = ssh.command(target.address, platforms.find(target.platform).ready)
    what = f"a shell by ssh on {target.name} ({target.address})"
    wait_for(what, lambda: succeeds(*ready, timeout=60), BOOT_TIMEOUT)


def _started(target: Target) -> str:
    """Return when a target was last started, as the engine writes it."""
    return docker("inspect", "--format", "{{.State.StartedAt}}", target.container)


def restart(name: str, power_cut: bool = False) -> Target:
    """Restart a target, cleanly or like a power cut, and wait until it is back."""
    target = find(name)
    if target is None:
        raise LabError(f"there is no target {name}")
    if power_cut:
        docker("kill", target.container)
        docker("start", target.container)
    else:
        started = _started(target)
        become = platforms.find(target.platform).become
        run(*ssh.command(target.address, f"{become} reboot"), check=False)
        wait_for(f"a reboot of {name}", lambda: _started(target) != started, BOOT_TIMEOUT)
    wait_until_ready(target)
    return target


def destroy(name: str) -> None:
    """Remove a target with all that is in it. A name that isn't there is no error."""
    target = find(name)
    if target is None:
        return
    if engine.answers():
        docker("rm", "--force", "--volumes", target.container, check=False)
        docker("volume", "rm", "--force", _volume(name), check=False)
    ssh.pin(target.address, None)
    shutil.rmtree(FOLDER / name)


def connection(target: Target) -> dict[str, str]:
    """Return the variables by which Ansible reaches a target."""
    return {
        **BECOME[platforms.find(target.platform).become],
        "ansible_host": target.address,
        "ansible_port": "22",
        "ansible_user": platforms.USER,
        "ansible_ssh_private_key_file": str(ssh.KEY),
        "ansible_ssh_common_args": ssh.common_args(),
    }


def describe(target: Target) -> dict[str, object]:
    """Return a target and its connection variables, for JSON."""
    return {**asdict(target), "variables": connection(target)}


def folder(name: str) -> Path:
    """Return where the lab keeps what belongs to one target."""
    return FOLDER / name
