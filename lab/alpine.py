"""The platform Alpine: the image of a registry where one answers, a rehearsal of it where none does.

Either becomes what a fresh VM is: OpenRC as PID 1, sshd, a user who may become root with doas, Alpine's repositories
with community off; no Python, no sudo.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab import images, rehearsal
from lab.base import LabError, say
from lab.engine import docker
from lab.images import Access

# Alpine 3.23 on Docker Hub, for all architectures.
OFFICIAL = "docker.io/library/alpine:3.23@sha256:5b10f432ef3da1b8d4c7eb6c487f2f5a8f096bc91145e68878dd4a5019afde11"
# Which of both, where the lab should not look by itself: `registry` or `rehearsal`.
CHOICE = "SLIPWAY_LAB_ALPINE"
# Seconds for a registry to answer, image included.
PULL_TIMEOUT = 120
# What a VM of Alpine's cloud images has, as far as this toolkit can tell the difference.
PACKAGES = (
    "alpine-base",
    "busybox-openrc",
    "ca-certificates-bundle",
    "doas",
    "e2fsprogs",
    "openssh",
)
# Where Debian and Alpine keep the certificate authorities that a machine's administrator trusts, such as a proxy's.
AUTHORITIES = Path("/usr/local/share/ca-certificates")
# What OpenRC needs of the machine's control groups, by their version. With 1, it would mount the other version over
# them, which has no controllers then. With 2, processes in the root of a container's own groups keep the controllers
# from all others; a VM's root is the kernel's, and exempt.
CGROUPS = {
    1: "mkdir -p /etc/rc.conf.d && printf '%s\\n' 'rc_cgroup_mode=\"legacy\"' 'rc_controller_cgroups=\"NO\"'"
    " >/etc/rc.conf.d/lab.conf",
    2: "if grep -qx 0::/ /proc/self/cgroup; then"
    " mkdir -p /sys/fs/cgroup/init; echo $$ >/sys/fs/cgroup/init/cgroup.procs; fi",
}
# The default runlevel is reached, and all of it has started.
READY = '[ "$(rc-status --runlevel)" = default ] && [ ! -e /run/openrc/rc.starting ]'

# What a target and a VM have in common, once the packages are there: repositories, authorities and the user.
FRESH = """\
# As setup-apkrepos leaves it.
sed -i 's|^\\([^#].*/community\\)$|#\\1|' /etc/apk/repositories
addgroup -g {uid} {user}
adduser -D -u {uid} -G {user} -s /bin/sh {user}
addgroup {user} wheel
# As cloud-init leaves them: no password, and yet not locked, because sshd refuses keys of locked accounts.
sed -Ei 's/^({user}|root):[^:]*/\\1:*/' /etc/shadow
echo 'permit nopass {user}' >>/etc/doas.conf
install -d -m 700 -o {user} -g {user} /home/{user}/.ssh
cat {authorities}/*.crt >>/etc/ssl/certs/ca-certificates.crt 2>/dev/null || true
"""

SCRIPT = """\
{repositories}
apk add --quiet {packages}
# An image starts nothing. osclock leaves the clock alone, which is the one of the machine the lab runs on: swclock
# would set it back to the date of a file.
enable() {{
    level=$1
    shift
    for service; do rc-update --quiet add "$service" "$level"; done
}}
enable boot bootmisc hostname networking osclock seedrng sysctl syslog
enable default crond sshd
enable shutdown killprocs savecache
printf 'clock_hctosys="NO"\\nclock_systohc="NO"\\n' >>/etc/conf.d/hwclock
# Neither are settings of the whole kernel a container's own.
sed -Ei '/^(kernel|fs)[.]/d' /usr/lib/sysctl.d/*.conf
printf 'auto lo\\niface lo inet loopback\\n\\nauto eth0\\niface eth0 inet manual\\n' >/etc/network/interfaces
# A container has no terminals.
sed -i '/^tty/d' /etc/inittab
# As on a VM: no service is left out because this is a container.
sed -i 's/^#*rc_sys=.*/rc_sys=""/' /etc/rc.conf
{fresh}\
chmod 755 {init}
rm -f /etc/ssh/ssh_host_*
: >/etc/resolv.conf
: >/etc/hostname
"""


def _pulled() -> str | None:
    """Return the official image if the engine has it or can pull it."""
    try:
        docker("image", "inspect", OFFICIAL)
    except LabError:
        say("asking the registry for Alpine")
        try:
            docker("pull", "--quiet", OFFICIAL, timeout=PULL_TIMEOUT)
        except LabError as error:
            say(f"no image of Alpine from a registry: {error}")
            return None
    return OFFICIAL


def command(cgroup: int) -> list[str]:
    """Return what boots a target, started by platforms.INIT_PATH; ``cgroup`` is the engine's version of them."""
    return ["/bin/sh", "-c", f"{CGROUPS[cgroup]}; exec /sbin/init"]


def base(access: Access) -> tuple[str, str]:
    """Return the image that targets are built on, and a shell line that sets its repositories up.

    Raises :class:`LabError` where there is none.
    """
    choice = os.environ.get(CHOICE, "")
    if choice not in {"", "registry", "rehearsal"}:
        raise LabError(f"{CHOICE}: {choice!r} is not allowed; registry or rehearsal")
    pulled = None if choice == "rehearsal" else _pulled()
    if choice == "registry" and not pulled:
        raise LabError(f"{CHOICE}=registry, but none answers")
    if pulled:
        return pulled, ":"
    rehearsed = rehearsal.image(access, PACKAGES)
    return rehearsed, rehearsal.use_mirror(rehearsal.mirror(rehearsed, access))


def fresh(user: str, uid: int) -> str:
    """Return the lines that make a VM with this user of a system that has the packages, and :func:`trusted`."""
    return FRESH.format(user=user, uid=uid, authorities=AUTHORITIES)


def trusted() -> dict[str, str]:
    """Return the authorities of this machine, text by path.

    What the lab makes reaches the world through the same proxies as this machine, so it has to trust the same.
    """
    return {str(file): file.read_text() for file in sorted(AUTHORITIES.glob("*.crt"))}


def image(access: Access, user: str, uid: int, init: tuple[str, str]) -> str:
    """Return the image of a fresh VM with this user; ``init`` is the path and the text of the first process."""
    path, text = init
    below, repositories = base(access)
    script = SCRIPT.format(
        repositories=repositories,
        packages=" ".join(PACKAGES),
        fresh=fresh(user, uid),
        init=path,
    )
    return images.build("alpine", below, script, {path: text, **trusted()}, access)
