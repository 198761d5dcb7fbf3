#!/usr/bin/python
"""Module packages: which packages a host lacks, by what its package manager has written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: packages
short_description: Installs or removes packages, and calls the package manager only where there is something to do
description:
  - Installs what is missing as M(ansible.builtin.package) does, after a look into the database of dpkg or apk. As a
    rule nothing is missing, and a call of the package manager takes seconds.
  - A package that apt has installed for the sake of another becomes one of its own, as with M(ansible.builtin.apt), so
    that it stays when the other goes.
options:
  names:
    description: The packages. What isn't in the database by this name, such as V(name=version), is left to the manager.
    type: list
    elements: str
    required: true
  state:
    description: Whether they are to be there. What only they needed goes with them where the manager does so.
    type: str
    choices: [present, absent]
    default: present
  install:
    description: Whether what is missing is installed; otherwise the task only looks.
    type: bool
    default: true
  remember:
    description:
      - Whether the run takes what is in place by now for in place until its end, so that no later task of this kind
        looks again, neither for these packages nor for some of them.
    type: bool
    default: false
  options:
    description: Given on to the package manager's module.
    type: dict
    default: {}
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Install packages
  packages:
    names: [nginx, logrotate]
"""

RETURN = r"""
missing:
  description: The packages that were not installed.
  type: list
  returned: success
automatic:
  description: The packages that were there for the sake of others alone.
  type: list
  returned: success
"""


def _stanzas(path: Path) -> Iterator[dict[str, str]]:
    """Yield the first lines of the fields of each paragraph of a file in the format of dpkg."""
    if not path.exists():
        return
    for paragraph in path.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        lines = [line.partition(": ") for line in paragraph.splitlines() if not line.startswith(" ")]
        yield {name: value for name, _, value in lines}


def installed(root: Path) -> set[str]:
    """Return the names of the packages that are installed and configured, by dpkg(1) or apk(8)."""
    found = {
        stanza["Package"]
        for stanza in _stanzas(root / "var/lib/dpkg/status")
        # "want flag status": a package on hold is installed as well.
        if stanza.get("Status", "").endswith(" ok installed")
    }
    # Newer systems of apk have it below /usr.
    for path in (root / "lib/apk/db/installed", root / "usr/lib/apk/db/installed"):
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            found |= {line[2:] for line in lines if line.startswith("P:")}
    return found


def automatic(root: Path) -> set[str]:
    """Return the names of the packages that apt(8) would remove together with those that need them."""
    stanzas = _stanzas(root / "var/lib/apt/extended_states")
    return {stanza["Package"] for stanza in stanzas if stanza.get("Auto-Installed") == "1"}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "install": {"type": "bool", "default": True},
            "remember": {"type": "bool", "default": False},
            "options": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    root = Path("/")
    there, others = installed(root), automatic(root)
    names = dict.fromkeys(module.params["names"])
    module.exit_json(
        changed=False,
        install=module.params["install"],
        missing=[name for name in names if name not in there],
        automatic=[name for name in names if name in there & others],
    )


if __name__ == "__main__":
    main()
