#!/usr/bin/python
"""Module base_image: a base image for containers, made on the host from the distribution's signed archive."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: base_image
short_description: Makes a container base image from the distribution's signed archive
description:
  - Bootstraps a minimal root file system of a Debian release with C(mmdebstrap), or of the host's Alpine release with
    C(apk --root), and imports it into the Docker Engine. Nothing is asked of a registry.
  - The archive is reached as the host's own package manager reaches it, by the same sources, lists of mirrors, keys,
    proxies and logins. All of this is also written to a folder that image builds mount as C(/run/slipway-archive)
    while they install packages; none of it is left in an image.
  - The certificate authorities that the host's administrator trusts, such as a proxy's, are trusted in the image too.
  - The tag ends with a checksum of all that except passwords, so a changed mirror, key or proxy gives another image.
    An image that exists is left alone.
options:
  name:
    description: Name of the image.
    type: str
    required: true
  tag:
    description: Its tag; the checksum is appended to it.
    type: str
    required: true
  folder:
    description: The folder for what image builds need to reach the archive; the one above is closed to all but root.
    type: path
    required: true
  suite:
    description: Code name of the Debian release, such as C(trixie). Not used on Alpine.
    type: str
  package_manager:
    description: Which package manager the host has.
    type: str
    choices: [apt, apk]
    default: apt
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Make the base image
  base_image:
    name: slipway.invalid/base
    tag: trixie
    folder: /opt/slipway/stack/archive/files
    suite: trixie
"""

RETURN = r"""
image:
  description: The image's full name.
  returned: always
  type: str
"""

# Where a build mounts the folder.
PLACE = "/run/slipway-archive"
# What an image needs beyond the smallest system, so that TLS works in it.
_INCLUDE = "ca-certificates"
# The authorities an administrator trusts, on both families. The package ca-certificates makes its list with them.
_AUTHORITIES = Path("/usr/local/share/ca-certificates")
_APT = Path("/etc/apt")
_APK = Path("/etc/apk")
# Where a system can be unpacked, in the order of preference: on the disk, not in a small tmpfs.
_WORK = (Path("/var/tmp"), Path("/var/lib/slipway"))  # noqa: S108 - a folder of its own is made there
# How apt and apk are told of proxies and logins other than by files.
_ENVIRONMENT = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_AUTH", "HTTP_PROXY_AUTH")
# What apt calls the releases beside their code names; they mean the host's own.
_MOVING = ("stable", "oldstable", "testing")
# Options of one-line sources whose field in a stanza has another name (sources.list(5)).
_FIELDS = {"arch": "architectures", "lang": "languages", "target": "targets"}
# Settings of apt that are files (apt-transport-https(1)).
_TLS_FILES = r"(?i)::(CaInfo|SslCert|SslKey|IssuerCert|CrlFile)$"

Stanza = dict[str, str]


class UnusableError(Exception):
    """What keeps the base image from being made, in one line for the user."""


class Files:
    """The files that a build needs, by the path below the folder that it mounts.

    Where ``mounted`` is off, paths are returned as they are: for programs that run on the host itself.
    """

    def __init__(self, mounted: bool) -> None:
        """Start without any file."""
        self.mounted = mounted
        self.content: dict[str, bytes] = {}

    def write(self, name: str, content: bytes) -> str:
        """Add a file; return the path that a build finds it at."""
        self.content[name] = content
        return f"{PLACE}/{name}"

    def copy(self, path: str, kind: str, kept: Callable[[str], str] | None = None) -> str:
        """Add a copy of a file of the host below the folder ``kind``; of its text what ``kept`` returns.

        Raises :class:`UnusableError` if there is no such file.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            message = f"{path}: {error.strerror}; the package sources of this host need it"
            raise UnusableError(message) from None
        # Two files may have the same name; apt tells what a key is by how its name ends.
        unique = hashlib.sha256(path.encode()).hexdigest()[:8]
        content = kept(content.decode()).encode() if kept else content
        copied = self.write(f"{kind}/{unique}-{Path(path).name}", content)
        return copied if self.mounted else path


def deb822(text: str) -> list[Stanza]:
    """Return the stanzas of a ``.sources`` file: values by lower-case name, lines that continue one included."""
    stanzas: list[Stanza] = []
    for part in re.split(r"\n[ \t]*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        fields = re.findall(r"(?m)^([^\s:]+):[ \t]*(.*(?:\n[ \t].*)*)", part)
        if fields:
            stanzas.append({name.lower(): value.rstrip() for name, value in fields})
    return stanzas


def one_line(text: str) -> list[Stanza]:
    """Return the entries of a ``sources.list``, as stanzas."""
    stanzas: list[Stanza] = []
    for line in text.splitlines():
        match = re.match(r"\s*(deb|deb-src)\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)([^#]*)", line)
        if not match:
            continue
        kind, options, uri, suite, components = match.groups()
        stanza = {"types": kind, "uris": uri, "suites": suite, "components": components.strip()}
        for name, sign, value in re.findall(r"([\w-]+?)([+-]?)=(\S+)", options or ""):
            suffix = {"+": "-add", "-": "-remove", "": ""}[sign]
            stanza[_FIELDS.get(name.lower(), name.lower()) + suffix] = value.replace(",", " ")
        stanzas.append(stanza)
    return stanzas


def of_release(stanza: Stanza, suite: str, own: bool) -> Stanza | None:
    """Return what a stanza has of this release's packages; ``own`` tells whether it is the release of the host.

    Backports are left out, sources and what serves from the host's own disk or CD as well: no container reaches these.
    """
    if "deb" not in stanza.get("types", "").split():
        return None
    if re.fullmatch(r"(?i)no|false|without|off|disable|0", stanza.get("enabled", "yes")):
        return None
    releases = [suite, *(_MOVING if own else ())]
    wanted = {f"{name}{part}" for name in releases for part in ("", "-updates", "-security", "/updates")}
    suites = [name for name in stanza.get("suites", "").split() if name in wanted]
    uris = [uri for uri in stanza.get("uris", "").split() if re.match(r"https?:|mirror(\+https?|\+file)?:", uri)]
    if not suites or not uris:
        return None
    return stanza | {"types": "deb", "suites": " ".join(suites), "uris": " ".join(uris)}


def mirrors(text: str) -> str:
    """Return a list of mirrors without those that lie on the host's own disk."""
    return "".join(f"{line}\n" for line in text.splitlines() if re.match(r"\s*https?:", line))


def _list_of(uri: str) -> str | None:
    """Return the file that an address by ``mirror+file`` names, if it is one."""
    return unquote(urlsplit(uri).path) if uri.startswith("mirror+file:") else None


def prepared(stanza: Stanza, files: Files) -> str:
    """Return a stanza as text, with the files it names where ``files`` has them."""
    uris = []
    for uri in stanza["uris"].split():
        path = _list_of(uri)
        uris.append(uri if path is None else f"mirror+file:{files.copy(path, 'mirrors', mirrors)}")
    fields = stanza | {"uris": " ".join(uris)}
    signers = stanza.get("signed-by", "")
    # A block is the key itself.
    if "-----BEGIN" not in signers:
        words = re.split(r"[\s,]+", signers.strip()) if signers.strip() else []
        fields["signed-by"] = " ".join(files.copy(w, "keys") if w.startswith("/") else w for w in words)
    titles = {name: "URIs" if name == "uris" else name.title() for name in fields}
    return "".join(f"{titles[name]}: {value}\n" for name, value in fields.items() if value)


def _addresses(stanzas: list[Stanza]) -> list[str]:
    """Return the addresses that the stanzas lead to, those of lists of mirrors included."""
    found: list[str] = []
    for uri in " ".join(stanza["uris"] for stanza in stanzas).split():
        path = _list_of(uri)
        lines = mirrors(Path(path).read_text()).splitlines() if path else [re.sub(r"^mirror(\+http)?:", "http:", uri)]
        found += [line.split()[0].removeprefix("mirror+") for line in lines]
    return list(dict.fromkeys(found))


def apt_options(dump: str) -> dict[str, str]:
    """Return the settings of ``apt-config dump`` that say how an archive is reached, value by name.

    Which indexes are fetched, and how, is the matter of a release's own apt.
    """
    lines = re.findall(r'(?m)^(Acquire::\S+) "(.+)";$', dump)
    other = r"(?i)Acquire::(IndexTargets|Changelogs|CompressionTypes|Languages|Snapshots|cdrom|GzipIndexes)\b"
    return {name: value for name, value in lines if not re.match(other, name)}


def _is_detector(name: str) -> bool:
    return re.fullmatch(r"(?i)Acquire::https?::(Proxy-Auto-Detect|ProxyAutoDetect)", name) is not None


def detected(module: AnsibleModule, options: dict[str, str], addresses: list[str]) -> dict[str, str]:
    """Return the proxies that the host's own program finds for these addresses, as settings of apt (apt.conf(5))."""
    found: dict[str, str] = {}
    for name, program in options.items():
        if not _is_detector(name):
            continue
        for address in addresses:
            parts = urlsplit(address)
            setting = f"Acquire::{parts.scheme}::Proxy::{parts.hostname}"
            if not name.lower().startswith(f"acquire::{parts.scheme}::") or setting in options:
                continue
            answer = module.run_command([program, address])[1].strip()
            if answer:
                found[setting] = answer.splitlines()[0]
    return found


def _quoted(options: dict[str, str], files: Files) -> list[str]:
    """Return settings of apt as lines of its configuration."""
    lines = []
    for name, value in options.items():
        if not _is_detector(name):
            text = files.copy(value, "tls") if re.search(_TLS_FILES, name) else value
            lines.append(f'{name} "{text}";')
    return lines


def apt_sources(suite: str, own: bool) -> list[Stanza]:
    """Return what the host's own apt has of a release."""
    stanzas = one_line(_APT.joinpath("sources.list").read_text()) if _APT.joinpath("sources.list").is_file() else []
    for path in sorted(_APT.glob("sources.list.d/*")):
        if path.suffix == ".sources":
            stanzas += deb822(path.read_text())
        elif path.suffix == ".list":
            stanzas += one_line(path.read_text())
    return [found for stanza in stanzas if (found := of_release(stanza, suite, own))]


def _logins() -> list[Path]:
    return [path for path in [_APT / "auth.conf", *sorted(_APT.glob("auth.conf.d/*.conf"))] if path.is_file()]


def _trusted() -> list[Path]:
    """Return the keys of sources that name none."""
    folder = sorted(path for path in _APT.glob("trusted.gpg.d/*") if path.suffix in (".gpg", ".asc"))
    return [path for path in [_APT / "trusted.gpg", *folder] if path.is_file()]


def environment() -> dict[str, str]:
    """Return the variables of the environment by which package managers learn of proxies and logins."""
    names = [*_ENVIRONMENT, *(name.upper() for name in _ENVIRONMENT if name.islower())]
    return {name: value for name in dict.fromkeys(names) if (value := os.environ.get(name))}


def _exports(variables: dict[str, str]) -> bytes:
    quoted = {name: value.replace("'", "'\\''") for name, value in variables.items()}
    return "".join(f"export {name}='{value}'\n" for name, value in quoted.items()).encode()


def for_apt(stanzas: list[Stanza], options: dict[str, str], variables: dict[str, str]) -> dict[str, bytes]:
    """Return the files by which apt in a build reaches the archive."""
    files = Files(mounted=True)
    files.write("sources.list.d/host.sources", "\n".join(prepared(stanza, files) for stanza in stanzas).encode())
    if any("/" not in stanza.get("signed-by", "") for stanza in stanzas):
        for path in _trusted():
            files.write(f"trusted.gpg.d/{path.name}", path.read_bytes())
    for path in _logins():
        files.write(f"auth.conf.d/{path.name}", path.read_bytes())
    places = {
        "sourcelist": "/dev/null",
        "sourceparts": f"{PLACE}/sources.list.d/",
        "trustedparts": f"{PLACE}/trusted.gpg.d/",
        "netrc": f"{PLACE}/auth.conf",
        "netrcparts": f"{PLACE}/auth.conf.d/",
    }
    lines = [
        'Acquire::Languages "none";',
        *_quoted(options, files),
        *(f'Dir::Etc::{name} "{path}";' for name, path in places.items()),
    ]
    files.write("apt.conf", "".join(f"{line}\n" for line in lines).encode())
    files.write("environment", _exports(variables | {"APT_CONFIG": f"{PLACE}/apt.conf"}))
    return files.content


def for_apk(variables: dict[str, str]) -> dict[str, bytes]:
    """Return the files by which apk in a build reaches the archive."""
    files = Files(mounted=True)
    lists = [path for path in [_APK / "repositories", *sorted(_APK.glob("repositories.d/*.list"))] if path.is_file()]
    lines = [line for path in lists for line in path.read_text().splitlines()]
    kept = [line.strip() for line in lines if re.match(r"\s*[^#\s].*https?:|\s*https?:", line)]
    if not kept:
        message = "no repository of this host's apk can be reached from a container; add one by http or https"
        raise UnusableError(message)
    files.write("repositories", "".join(f"{line}\n" for line in kept).encode())
    for path in sorted((_APK / "keys").glob("*")):
        files.write(f"keys/{path.name}", path.read_bytes())
    files.write("environment", _exports(variables))
    return files.content


def checksum(files: dict[str, bytes], detectors: list[str]) -> str:
    """Return 12 hex digits for the files, the authorities and the programs that find proxies.

    Logins don't count: nothing of them is in an image. Neither does what such a program answers, which may be another
    answer each time.
    """
    counted = {name: data for name, data in files.items() if not name.startswith("auth.conf.d/")}
    if detectors:
        counted["apt.conf"] = _without_proxies(counted["apt.conf"])
    authorities = sorted(path for path in _AUTHORITIES.rglob("*") if path.is_file()) if _AUTHORITIES.is_dir() else []
    counted |= {str(path): path.read_bytes() for path in authorities}
    digests = {
        # An address may have a login in it; so may the variables for one.
        name: hashlib.sha256(re.sub(rb"//[^/@\s\"']*@|(?m:^export HTTP_(PROXY_)?AUTH=.*$)", b"//", data)).hexdigest()
        for name, data in counted.items()
    }
    return hashlib.sha256(json.dumps([digests, detectors], sort_keys=True).encode()).hexdigest()[:12]


def _without_proxies(options: bytes) -> bytes:
    """Return the options without what a program that finds proxies answered."""
    return b"\n".join(line for line in options.splitlines() if not re.match(rb"Acquire::https?::Proxy::", line))


def written(folder: Path, files: dict[str, bytes], detectors: list[str], check: bool) -> bool:
    """Bring the folder to hold these files alone; tell whether that changes anything.

    What programs that find proxies answer, which may be another answer each time, is written and is no change. All can
    read the files, because apt does so as a user of its own in a build; the folder above is closed to others.
    """
    present = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    differing = [name for name, data in files.items() if name not in present or present[name].read_bytes() != data]
    leftover = [path for name, path in present.items() if name not in files]
    answers = [name for name in differing if name == "apt.conf" and name in present and detectors]
    same = [name for name in answers if _without_proxies(present[name].read_bytes()) == _without_proxies(files[name])]
    if not check:
        folder.parent.mkdir(exist_ok=True)
        folder.parent.chmod(0o700)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        for path in leftover:
            path.unlink()
        for name in differing:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(files[name])
            path.parent.chmod(0o755)
            path.chmod(0o644)
    return bool(set(differing) - set(same) or leftover)


def work_folder() -> Path:
    """Return where a system can be unpacked and its programs run; raise :class:`UnusableError` if there is none."""
    for path in _WORK:
        existing = next(folder for folder in (path, *path.parents) if folder.is_dir())
        if not os.statvfs(existing).f_flag & (os.ST_NOEXEC | os.ST_NODEV):
            path.mkdir(parents=True, exist_ok=True)
            return path
    places = " and ".join(map(str, _WORK))
    message = f"{places} are mounted noexec or nodev; remount one of them, or give container_stack_base_image"
    raise UnusableError(message)


def debian_command(suite: str, stanzas: list[Stanza], options: dict[str, str], archive: Path, work: Path) -> list[str]:
    """Return the call of mmdebstrap. It runs the host's own apt, so files are named where the host has them."""
    files = Files(mounted=False)
    sources = work / "host.sources"
    sources.write_text("\n".join(prepared(stanza, files) for stanza in stanzas))
    logins = [f'Dir::Etc::netrc "{_APT}/auth.conf";', f'Dir::Etc::netrcparts "{_APT}/auth.conf.d/";']
    hooks = []
    if _AUTHORITIES.is_dir():
        hooks += [f'--setup-hook=mkdir -p "$1{_AUTHORITIES.parent}"']
        hooks += [f"--setup-hook=copy-in {_AUTHORITIES} {_AUTHORITIES.parent}"]
    # An image doesn't name the archive: builds mount what leads to it.
    left = "sources.list sources.list.d/* auth.conf.d/* apt.conf.d/99mmdebstrap"
    hooks += [f'--customize-hook=cd "$1/etc/apt" && rm -f {left}']
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={_INCLUDE}",
        '--dpkgopt=path-exclude="/usr/share/doc/*"',
        '--dpkgopt=path-exclude="/usr/share/man/*"',
        '--dpkgopt=path-exclude="/usr/share/locale/*"',
        *(f"--aptopt={line}" for line in [*_quoted(options, files), *(logins if _logins() else [])]),
        *hooks,
        suite,
        str(archive),
        str(sources),
    ]


def alpine_commands(archive: Path, root: Path, folder: Path) -> list[list[str]]:
    """Return the calls that write a root file system of the host's Alpine release, made in ``root``, to ``archive``.

    ``folder`` has what :func:`for_apk` returned.
    """
    apk = ["apk", "--root", str(root), "--repositories-file", f"{folder}/repositories", "--keys-dir", f"{folder}/keys"]
    packages = ["alpine-baselayout", "alpine-keys", "alpine-release", "apk-tools", "busybox", "musl-utils", _INCLUDE]
    share = f"{root}{_AUTHORITIES.parent}"
    trust = [["mkdir", "-p", share], ["cp", "-a", str(_AUTHORITIES), share]] if _AUTHORITIES.is_dir() else []
    return [
        *trust,
        [*apk, "--initdb", "--no-cache", "add", *packages],
        ["tar", "-C", str(root), "-cf", str(archive), "."],
    ]


def _release_of_host() -> str:
    """Return the code name of the host's own release; empty if it has none (os-release(5))."""
    text = Path("/etc/os-release").read_text() if Path("/etc/os-release").is_file() else ""
    match = re.search(r'(?m)^VERSION_CODENAME="?(\w+)', text)
    return match[1] if match else ""


def run(module: AnsibleModule) -> None:
    """Bring folder and image into their state, and exit; raise :class:`UnusableError` where that can't be done."""
    given = module.params
    apt = given["package_manager"] == "apt"
    stanzas: list[Stanza] = []
    options: dict[str, str] = {}
    if apt:
        stanzas = apt_sources(given["suite"], given["suite"] == _release_of_host())
        if not stanzas:
            message = (
                f"no apt source of this host that can be reached from a container serves {given['suite']}; add one by "
                "http or https, or take a release it has"
            )
            raise UnusableError(message)
        options = apt_options(module.run_command(["apt-config", "dump"], check_rc=True)[1])
    detectors = [f"{name} {program}" for name, program in options.items() if _is_detector(name)]
    if detectors:
        options |= detected(module, options, _addresses(stanzas))
    files = for_apt(stanzas, options, environment()) if apt else for_apk(environment())
    image = f"{given['name']}:{given['tag']}-{checksum(files, detectors)}"
    folder = Path(given["folder"])
    changed = written(folder, files, detectors, module.check_mode)
    docker = module.get_bin_path("docker")
    if docker and module.run_command([docker, "image", "inspect", image])[0] == 0:
        module.exit_json(changed=changed, image=image)
    if module.check_mode:
        module.exit_json(changed=True, image=image)
    if not docker:
        message = "there is no docker on this host"
        raise UnusableError(message)
    with tempfile.TemporaryDirectory(prefix="slipway-base-", dir=work_folder()) as name:
        work = Path(name)
        # mmdebstrap drops its privileges where it can, and has to read the sources.
        work.chmod(0o755)
        archive = work / "root.tar"
        if apt:
            commands = [debian_command(given["suite"], stanzas, options, archive, work)]
        else:
            commands = alpine_commands(archive, work / "root", folder)
        for command in commands:
            # What it unpacks is to lie here, too, and to run here.
            module.run_command(command, check_rc=True, environ_update={"TMPDIR": name})
        module.run_command([docker, "import", "--change", 'CMD ["/bin/sh"]', str(archive), image], check_rc=True)
    module.exit_json(changed=True, image=image)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
            "folder": {"type": "path", "required": True},
            "suite": {"type": "str"},
            "package_manager": {"type": "str", "choices": ["apt", "apk"], "default": "apt"},
        },
        required_if=[("package_manager", "apt", ["suite"])],
        supports_check_mode=True,
    )
    try:
        run(module)
    except UnusableError as error:
        module.fail_json(msg=f"base_image: {error}")


if __name__ == "__main__":
    main()
