#!/usr/bin/python
"""Module base_image: a base image for containers, made on the host from the distribution's signed archive."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: base_image
short_description: Makes a container base image from the distribution's signed archive
description:
  - Bootstraps a minimal root file system of a Debian release with C(mmdebstrap), or of the host's Alpine release with
    C(apk --root), and imports it into the Docker Engine. Nothing is asked of a registry.
  - The archive, its keys and a proxy are those that the host's own package manager uses.
  - The certificate authorities that the host's administrator trusts, such as a proxy's, are trusted in the image too.
  - An image that exists is left alone.
options:
  name:
    description: Name of the image.
    type: str
    required: true
  tag:
    description: Its tag.
    type: str
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
    suite: trixie
"""

RETURN = r"""
image:
  description: The image's full name.
  returned: always
  type: str
"""

# What an image needs beyond the smallest system, so that TLS works in it.
_INCLUDE = "ca-certificates"
# The authorities an administrator trusts, on both families. The package ca-certificates makes its list with them.
_AUTHORITIES = Path("/usr/local/share/ca-certificates")
_APT_LISTS = [Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d")]


def _of_suite(suites: list[str], suite: str) -> list[str]:
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    return [name for name in suites if name in wanted]


def deb822_sources(text: str, suite: str) -> list[str]:
    """Return the stanzas of a ``.sources`` file that serve this release, each with those suites alone."""
    result: list[str] = []
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if line.strip() and not line.startswith("#")]
        match = next((re.match(r"(?i)Suites:\s*(.*)", line) for line in lines if re.match(r"(?i)Suites:", line)), None)
        kept = _of_suite(match.group(1).split(), suite) if match else []
        if not kept or any(re.match(r"(?i)Enabled:\s*(no|false)", line) for line in lines):
            continue
        types = [re.sub(r"(?i)^Types:.*", "Types: deb", line) for line in lines]
        result.append("\n".join(re.sub(r"(?i)^Suites:.*", f"Suites: {' '.join(kept)}", line) for line in types))
    return result


def one_line_sources(text: str, suite: str) -> list[str]:
    """Return the lines of a ``sources.list`` that serve this release."""
    result: list[str] = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(\[[^]]*\]\s+)?\S+\s+(\S+)\s+\S", line)
        if match and _of_suite([match.group(2)], suite):
            result.append(line.strip())
    return result


def apt_sources(suite: str) -> tuple[list[str], list[str]]:
    """Return the host's own sources of a release: deb822 stanzas and lines."""
    files = [path for top in _APT_LISTS for path in ([top] if top.is_file() else sorted(top.glob("*")))]
    stanzas: list[str] = []
    lines: list[str] = []
    for path in files:
        if path.suffix == ".sources":
            stanzas += deb822_sources(path.read_text(), suite)
        elif path.suffix == ".list":
            lines += one_line_sources(path.read_text(), suite)
    return stanzas, lines


def apt_options(dump: str) -> list[str]:
    """Return the settings of ``apt-config dump`` that say how the archive is reached."""
    return [
        line
        for line in dump.splitlines()
        if re.match(r'Acquire::(http|https)::(Proxy|CaInfo|Verify-[A-Za-z]+)\b[^"]*"[^"]', line)
    ]


def debian_command(module: AnsibleModule, archive: Path, work: Path) -> list[str]:
    """Return the call of mmdebstrap; fails when the host's sources don't serve the release."""
    suite = module.params["suite"]
    stanzas, lines = apt_sources(suite)
    if not stanzas and not lines:
        module.fail_json(
            msg=f"base_image: no apt source of this host serves {suite}; add one, or take a release it has"
        )
    sources: list[str] = []
    if stanzas:
        (work / "host.sources").write_text("\n\n".join(stanzas) + "\n")
        sources.append(str(work / "host.sources"))
    if lines:
        (work / "host.list").write_text("\n".join(lines) + "\n")
        sources.append(str(work / "host.list"))
    dump = module.run_command(["apt-config", "dump"], check_rc=True)[1]
    options = [f"--aptopt={option}" for option in apt_options(dump)]
    if _AUTHORITIES.is_dir():
        options += [f'--setup-hook=mkdir -p "$1{_AUTHORITIES.parent}"']
        options += [f"--setup-hook=copy-in {_AUTHORITIES} {_AUTHORITIES.parent}"]
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={_INCLUDE}",
        '--dpkgopt=path-exclude="/usr/share/doc/*"',
        '--dpkgopt=path-exclude="/usr/share/man/*"',
        '--dpkgopt=path-exclude="/usr/share/locale/*"',
        *options,
        suite,
        str(archive),
        *sources,
    ]


def alpine_commands(archive: Path, root: Path) -> list[list[str]]:
    """Return the calls that write a root file system of the host's Alpine release, made in ``root``, to ``archive``."""
    apk = ["apk", "--root", str(root), "--repositories-file", "/etc/apk/repositories", "--keys-dir", "/etc/apk/keys"]
    packages = ["alpine-baselayout", "alpine-keys", "alpine-release", "apk-tools", "busybox", "musl-utils", _INCLUDE]
    share = f"{root}{_AUTHORITIES.parent}"
    trust = [["mkdir", "-p", share], ["cp", "-a", str(_AUTHORITIES), share]] if _AUTHORITIES.is_dir() else []
    return [
        *trust,
        [*apk, "--initdb", "--no-cache", "add", *packages],
        # What is installed in the image later comes from the same place.
        ["cp", "-a", "/etc/apk/repositories", "/etc/apk/keys", str(root / "etc/apk")],
        ["tar", "-C", str(root), "-cf", str(archive), "."],
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
            "suite": {"type": "str"},
            "package_manager": {"type": "str", "choices": ["apt", "apk"], "default": "apt"},
        },
        required_if=[("package_manager", "apt", ["suite"])],
        supports_check_mode=True,
    )
    image = f"{module.params['name']}:{module.params['tag']}"
    docker = module.get_bin_path("docker")
    if docker and module.run_command([docker, "image", "inspect", image])[0] == 0:
        module.exit_json(changed=False, image=image)
    if module.check_mode:
        module.exit_json(changed=True, image=image)
    if not docker:
        module.fail_json(msg="base_image: there is no docker on this host")
    # On the disk, not in a small tmpfs.
    with tempfile.TemporaryDirectory(prefix="slipway-base-", dir="/var/tmp") as folder:
        work = Path(folder)
        # mmdebstrap drops its privileges where it can, and has to read the sources.
        work.chmod(0o755)
        archive = work / "root.tar"
        if module.params["package_manager"] == "apk":
            commands = alpine_commands(archive, work / "root")
        else:
            commands = [debian_command(module, archive, work)]
        for command in commands:
            module.run_command(command, check_rc=True)
        module.run_command([docker, "import", "--change", 'CMD ["/bin/sh"]', str(archive), image], check_rc=True)
    module.exit_json(changed=True, image=image)


if __name__ == "__main__":
    main()
