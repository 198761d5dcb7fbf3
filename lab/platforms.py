"""The platforms a target can have: one :class:`Platform` each, found by name in :data:`PLATFORMS`.

Another platform is another entry: a function that returns its image, and the command that boots it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lab import alpine, archive, images
from lab.base import LabError
from lab.images import Access

USER = "operator"
USER_ID = 1000
# Starts the platform's own init; see INIT.
INIT_PATH = "/.lab/init"
RESOLV_CONF_PATH = "/.lab/resolv.conf"
# Lets systemd-resolved answer at 127.0.0.53, where a system has it; it asks the name servers that were configured.
USE_RESOLVED = """\
if [ -e "$root/lib/systemd/systemd-resolved" ]; then
        mkdir -p "$root/etc/systemd/resolved.conf.d"
        sed -n '1i [Resolve]\ns/^nameserver /DNS=/p' "$root/etc/resolv.conf" \\
            >"$root/etc/systemd/resolved.conf.d/lab.conf"
        ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
    fi"""

# First process of every target. Docker mounts its own files over these three, so they could be neither replaced nor
# kept over a reboot, and its resolv.conf names an address that containers inside the target can't reach. A VM has plain
# files: so they are made plain here, on the first boot with Docker's content.
INIT = f"""\
#!/bin/sh
for file in /etc/hostname /etc/hosts /etc/resolv.conf; do
    given=$(cat "$file")
    umount "$file" 2>/dev/null || continue
    [ -s "$file" ] || printf '%s\\n' "$given" >"$file"
done
if [ -s {RESOLV_CONF_PATH} ]; then
    mv {RESOLV_CONF_PATH} /etc/resolv.conf
    root=
    {USE_RESOLVED}
fi
# A VM has a clock and a kernel of its own; a container would change those of the machine it runs on.
if setpriv --bounding-set -sys_time,-sys_module true 2>/dev/null; then
    exec setpriv --bounding-set -sys_time,-sys_module "$@"
fi
exec "$@"
"""


@dataclass(frozen=True)
class Platform:
    """What distinguishes one kind of target from another.

    ``image`` makes the image if need be and returns its name; its argument is how a build reaches packages.
    ``command`` returns what boots the target, given the engine's cgroup version (1 or 2). ``ready`` is a shell line
    that succeeds in a target that has booted; run by ssh as its user. ``become`` is the program by which its user
    becomes root. ``limited`` are programs, by path, for targets on machines that lack a capability a VM has.

    The image must have INIT at INIT_PATH, executable, an sshd that starts at boot and reads its host key from
    /etc/ssh/ssh_host_ed25519_key, and USER with the id USER_ID and a folder ~/.ssh of its own.
    """

    name: str
    family: str
    service_manager: str
    image: Callable[[Access], str]
    command: Callable[[int], list[str]]
    ready: str
    become: str = "sudo"
    limited: Mapping[str, str] = field(default_factory=dict)


# What a VM of Debian's cloud image has, as far as this toolkit can tell the difference. python3-apt is one of them:
# unattended-upgrades needs it.
DEBIAN_PACKAGES = (
    "ca-certificates",
    "iproute2",
    "iputils-ping",
    "kmod",
    "netbase",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "tzdata",
    "unattended-upgrades",
)

DEBIAN_SCRIPT = """\
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# What Docker's own Debian images change; a VM starts services and has documentation.
rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/docker-* /etc/dpkg/dpkg.cfg.d/docker*
# No service starts while the image is built.
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
{archive}\
apt-get -qq upgrade -y
apt-get -qq install -y --no-install-recommends {packages}
rm /usr/sbin/policy-rc.d
# Debian has a group of that name already.
useradd --uid {uid} --gid operator --create-home --shell /bin/bash {user}
echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/90-{user}
chmod 440 /etc/sudoers.d/90-{user}
visudo -cqf /etc/sudoers
install -d -m 700 -o {user} -g operator /home/{user}/.ssh
{more}
chmod 755 {init}
# Each target gets its own.
rm -f /etc/ssh/ssh_host_*
: >/etc/machine-id
: >/etc/resolv.conf
: >/etc/hostname
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/cache/apt/*.bin /var/log/apt/* /tmp/*
apt-get -qq clean
"""


# The sources of Debian's cloud images: lists of mirrors in files of their own, with source packages and backports, and
# on Debian 12 without the name of a key. All of it has to be there.
DEBIAN_ARCHIVE = """\
sources=/etc/apt/sources.list.d/debian.sources
mkdir -p /etc/apt/mirrors
awk '/^URIs:/ {{print $2}}' $sources | sed -n 1p >/etc/apt/mirrors/debian.list
awk '/^URIs:/ {{print $2}}' $sources | sed -n 2p >/etc/apt/mirrors/debian-security.list
stanza() {{
    printf 'Types: deb deb-src\\nURIs: mirror+file:///etc/apt/mirrors/%s.list\\n' "$1"
    printf 'Suites: %s\\nComponents: main\\n{signed}\\n' "$2"
}}
{{
    stanza debian '{release} {release}-updates {release}-backports'
    [ ! -s /etc/apt/mirrors/debian-security.list ] || stanza debian-security '{release}-security'
}} >$sources.new
mv $sources.new $sources
apt-get -qq update --error-on=any
"""
SIGNED_BY = {"trixie": f"Signed-By: {archive.KEYRING}\\n"}


def debian(name: str, release: str, packages: tuple[str, ...], access: Access, more: str = ":") -> str:
    """Return a Debian image with sshd, the user and these packages; ``more`` is run at the end of its making."""
    script = DEBIAN_SCRIPT.format(
        packages=" ".join(sorted({*DEBIAN_PACKAGES, *packages})),
        user=USER,
        uid=USER_ID,
        init=INIT_PATH,
        archive=DEBIAN_ARCHIVE.format(release=release, signed=SIGNED_BY.get(release, "")),
        more=more,
    )
    files = {INIT_PATH: INIT}
    return images.build(name, images.debian(release), script, files, access)


def systemd_command(cgroup: int) -> list[str]:
    """Return what starts systemd. From version 256 on it refuses version 1 of cgroups unless told twice."""
    legacy = ["SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "systemd.unified_cgroup_hierarchy=0"]
    return ["/lib/systemd/systemd", *(legacy if cgroup == 1 else [])]


# Units that need a console or a kernel of the target's own.
SYSTEMD_MORE = "systemctl mask -q console-getty.service getty@.service systemd-modules-load.service"
SYSTEMD_READY = "systemctl is-system-running --wait | grep -Eqx 'running|degraded'"
SYSTEMD_PACKAGES = ("dbus", "libpam-systemd", "systemd", "systemd-resolved", "systemd-sysv")


def _debian_systemd(name: str, release: str) -> Platform:
    return Platform(
        name=name,
        family="Debian",
        service_manager="systemd",
        image=lambda access: debian(name, release, SYSTEMD_PACKAGES, access, SYSTEMD_MORE),
        command=systemd_command,
        ready=SYSTEMD_READY,
    )


# OpenRC under sysvinit's init, as Debian packages it. No console is there for a getty.
OPENRC_PACKAGES = ("openrc", "sysvinit-core")
OPENRC_MORE = "sed -i '/getty/d; /sulogin/d' /etc/inittab"
# Docker's script for this init raises limits, and gives up where it must not. Only CAP_SYS_RESOURCE allows it: where
# the machine itself lacks that, the script is told to go on. invoke-rc.d(8) asks this program before the first start.
OPENRC_LIMITED = {
    "/usr/sbin/policy-rc.d": r"""#!/bin/sh
[ ! -f /etc/init.d/docker ] || sed -Ei 's/^(\s*ulimit [^|]*)$/\1 || true/' /etc/init.d/docker
""",
}
# Debian's init goes to its runlevel 2, which OpenRC calls default.
OPENRC_READY = 'test "$(rc-status --runlevel)" = default && test ! -e /run/openrc/rc.starting'


def _debian_openrc(name: str, release: str) -> Platform:
    return Platform(
        name=name,
        family="Debian",
        service_manager="openrc",
        image=lambda access: debian(name, release, OPENRC_PACKAGES, access, OPENRC_MORE),
        command=lambda _: ["/sbin/init"],
        ready=OPENRC_READY,
        limited=OPENRC_LIMITED,
    )


PLATFORMS = {
    platform.name: platform
    for platform in (
        _debian_systemd("debian13-systemd", "trixie"),
        _debian_systemd("debian12-systemd", "bookworm"),
        Platform(
            name="alpine",
            family="Alpine",
            service_manager="openrc",
            image=lambda access: alpine.image(access, USER, USER_ID, (INIT_PATH, INIT)),
            command=alpine.command,
            ready=alpine.READY,
            become="doas",
        ),
        _debian_openrc("debian-openrc", "trixie"),
    )
}
# Short spellings for the command line.
ALIASES = {"debian-systemd": "debian13-systemd"}
DEFAULT = "debian13-systemd"


def find(name: str) -> Platform:
    """Return the platform of this name or short spelling; raise :class:`LabError` for any other."""
    try:
        return PLATFORMS[ALIASES.get(name, name)]
    except KeyError:
        known = ", ".join(sorted({*PLATFORMS, *ALIASES}))
        raise LabError(f"unknown platform {name!r}; there are: {known}") from None


def names() -> list[str]:
    """Return all names and short spellings."""
    return sorted({*PLATFORMS, *ALIASES})
