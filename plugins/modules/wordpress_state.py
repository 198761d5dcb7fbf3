#!/usr/bin/python
"""Module wordpress_state: brings the WordPress sites of a host into their state, side by side."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: wordpress_state
short_description: Brings the WordPress sites of a host into their state
description:
  - Runs C(wordpress_state.php) for each site, as many at a time as there are processors. Each has a process, files and
    a database of its own; what all share is only read. The wanted state goes to its standard input, because it holds
    passwords, which are in no message either.
  - A program that didn't start (exit status 126, as of C(docker exec)), or that ended before it read or said anything,
    is started again, three times at most.
  - In check mode the programs are asked what they would change. A site whose program can't answer yet, or is an older
    one that may not know all that it is told, is reported as a change.
options:
  argv:
    description:
      - How the program of a site is run, with the options that it gets. C({name}) in a word stands for the site's name,
        C({patience}) for the seconds after which it has to be ended.
    type: list
    elements: str
    required: true
  chdir:
    description: The folder to run it in.
    type: path
    default: /
  program:
    description: Where the program lies on the host.
    type: path
    required: true
  program_checksum:
    description: The SHA-256 checksum that it is to have.
    type: str
    required: true
  config:
    description:
      - The site's configuration on the host, by which check mode knows a site that is installed. C({name}) stands for
        the site's name, C({folder}) for the folder above its web root.
    type: str
    required: true
  version:
    description: Release of WordPress.
    type: str
    required: true
  archive:
    description: Its archive, as the program sees it.
    type: str
    required: true
  archive_checksum:
    description: The archive's checksum, as C(algorithm:hex).
    type: str
    required: true
  share:
    description: The folder of the object cache and the language packs, as the program sees it.
    type: str
    required: true
  language_packs:
    description: Languages of which that folder holds a pack.
    type: list
    elements: str
    default: []
  update_password:
    description: Whether passwords replace those in WordPress on each run, or only start them.
    type: str
    choices: [on_create, always]
    default: on_create
  sites:
    description: The sites. More keys than these are passed over.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Short id of the site; messages begin with it.
        type: str
        required: true
      root:
        description: The web root, as the program sees it.
        type: str
        required: true
      url:
        description: Where visitors reach the site.
        type: str
        required: true
      title:
        description: Title of the site.
        type: str
        required: true
      language:
        description: Its language.
        type: str
        default: en_US
      timezone:
        description: Its time zone, by IANA name.
        type: str
        default: UTC
      permalinks:
        description: How addresses of posts look.
        type: str
        default: /%postname%/
      cached:
        description: Whether it gets the object cache. The action reads it from the site's C(cache).
        type: bool
        default: false
      admin:
        description: The administrator, made with the site.
        type: dict
        required: true
        suboptions: &user
          name:
            description: Login name.
            type: str
            required: true
          email:
            description: E-mail address.
            type: str
            required: true
          password:
            description: Password.
            type: str
            required: true
          role:
            description: Role in WordPress; the administrator needs none.
            type: str
      users:
        description: Further users.
        type: list
        elements: dict
        default: []
        suboptions: *user
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Configure WordPress sites
  wordpress_state:
    argv: [su, -s, /bin/sh, '{name}', -c, exec php /opt/slipway/wordpress/wordpress_state.php]
    program: /opt/slipway/wordpress/wordpress_state.php
    program_checksum: "{{ lookup('ansible.builtin.file', 'wordpress_state.php', rstrip=false) | hash('sha256') }}"
    config: '{folder}/wp-config.php'
    version: '7.1'
    archive: /opt/slipway/wordpress/wordpress-7.1.tar.gz
    archive_checksum: sha1:e0ca593bc062f7a8c5a956ca44aff7375b0841e0
    share: /opt/slipway/wordpress
    sites: "{{ sites }}"
"""

RETURN = r"""
msg:
  description: A line for each site - what changed and what stays as it is.
  type: list
  elements: str
  returned: success
notes:
  description: What somebody should know and act on, a line each that begins with the site.
  type: list
  elements: str
  returned: success
"""

ATTEMPTS = 4
PAUSE = 1  # seconds between two attempts
NOT_STARTED = 126
# As a shell tells it, and as Python does.
KILLED = (128 + signal.SIGKILL, -signal.SIGKILL)
# Seconds for one site. A site's own code may hold its program up for ever, and the others' with it.
PATIENCE = 1800


def wanted(site: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the wanted state of a site, as its program reads it."""
    language = site["language"]
    people = [
        {key: value for key, value in one.items() if value is not None} for one in [site["admin"], *site["users"]]
    ]
    return {
        **{key: site[key] for key in ("root", "url", "title", "language", "timezone", "permalinks")},
        "config": f"{os.path.dirname(site['root'])}/wp-config.php",  # noqa: PTH120 - as the program sees it
        "version": given["version"],
        "archive": given["archive"],
        "archive_checksum": given["archive_checksum"],
        "admin": people[0],
        "users": people[1:],
        "object_cache": f"{given['share']}/object-cache.php" if site["cached"] else None,
        "update_password": given["update_password"],
        "language_archive": f"{given['share']}/language-{language}.zip"
        if language in given["language_packs"]
        else None,
    }


def _filled(text: str, site: dict[str, Any]) -> str:
    folder = os.path.dirname(site["root"])  # noqa: PTH120 - a text
    for key, value in (("name", site["name"]), ("folder", folder), ("patience", str(PATIENCE))):
        text = text.replace(f"{{{key}}}", value)
    return text


def call(argv: list[str], chdir: str, said: str) -> dict[str, Any]:
    """Return the answer of a program that is told this; C(error) and C(silent) if there is none that can be read."""
    silence = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        # A file in memory: what was read of it shows by its position, however the program ended.
        with os.fdopen(os.memfd_create("wanted"), "w+b", buffering=0) as file:
            file.write(said.encode())
            file.seek(0)
            try:
                done = subprocess.run(argv, cwd=chdir, stdin=file, capture_output=True, check=False)
            except OSError as error:
                return {"error": str(error), "silent": True}
            read = file.tell() > 0
        output, silence = (text.decode(errors="replace").strip() for text in (done.stdout, done.stderr))
        if done.returncode != NOT_STARTED and output.startswith("{"):
            try:
                answer: dict[str, Any] = json.loads(output)
            except ValueError:
                return {"error": "its answer is cut off", "silent": True}
            return answer
        if done.returncode != NOT_STARTED and (read or silence or output):
            break
    if done.returncode in KILLED:
        why = f"it was killed: it took longer than {PATIENCE} seconds, or more memory than it may have"
        return {"error": why, "silent": True}
    return {"error": (silence or "no answer").splitlines()[-1], "silent": True}


def is_current(program: str, checksum: str) -> bool:
    """Tell whether the program on the host is the one of this role."""
    try:
        return hashlib.sha256(Path(program).read_bytes()).hexdigest() == checksum
    except OSError:
        return False


def told(name: str, answer: dict[str, Any]) -> str:
    """Return what a person is told of a site."""
    if "error" in answer:
        return f"{name}: {answer['error']}"
    return f"{name}: {'; '.join([*answer.get('changes', []), *answer.get('notes', [])]) or 'as wanted'}"


def unseen(site: dict[str, Any], answer: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return what check mode says of a site that it can't look into."""
    if Path(_filled(given["config"], site)).exists():
        change = f"what would change in WordPress can't be shown: {answer['error']}"
    else:
        change = f"WordPress {given['version']} would be installed"
    return {"changed": True, "changes": [change]}


def keep(given: dict[str, Any], *, check: bool) -> dict[str, dict[str, Any]]:
    """Bring all sites into their state; return the answer of each, by name."""
    current = is_current(given["program"], given["program_checksum"])

    def one(site: dict[str, Any]) -> dict[str, Any]:
        argv = [_filled(word, site) for word in given["argv"]]
        answer = call(argv, given["chdir"], json.dumps(wanted(site, given)))
        # Nothing could answer yet, or nothing that knows of all that is asked.
        blind = check and "error" in answer and ("silent" in answer or not current)
        return unseen(site, answer, given) if blind else answer

    sites = given["sites"]
    with ThreadPoolExecutor(max(len(os.sched_getaffinity(0)), 1)) as pool:
        return dict(zip([site["name"] for site in sites], pool.map(one, sites), strict=True))


def main() -> None:
    """Run the module."""
    user = {
        "name": {"type": "str", "required": True},
        "email": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
        "role": {"type": "str"},
    }
    text = {"type": "str", "required": True}
    site = {
        **dict.fromkeys(("name", "root", "url", "title"), text),
        "language": {"type": "str", "default": "en_US"},
        "timezone": {"type": "str", "default": "UTC"},
        "permalinks": {"type": "str", "default": "/%postname%/"},
        "cached": {"type": "bool", "default": False},
        "admin": {"type": "dict", "required": True, "options": user},
        "users": {"type": "list", "elements": "dict", "default": [], "options": user},
    }
    module = AnsibleModule(
        argument_spec={
            "argv": {"type": "list", "elements": "str", "required": True},
            "chdir": {"type": "path", "default": "/"},
            "program": {"type": "path", "required": True},
            **dict.fromkeys(("program_checksum", "config", "version", "archive", "archive_checksum", "share"), text),
            "language_packs": {"type": "list", "elements": "str", "default": []},
            # It says when passwords are used, and holds none.
            "update_password": {"choices": ["on_create", "always"], "default": "on_create", "no_log": False},
            "sites": {"type": "list", "elements": "dict", "required": True, "options": site},
        },
        supports_check_mode=True,
    )
    answers = keep(module.params, check=module.check_mode)
    failed = {name: answer for name, answer in answers.items() if "error" in answer}
    lines = [told(name, answer) for name, answer in answers.items()]
    changed = any(answer.get("changed") for answer in answers.values())
    if failed:
        # What was done to the others is said as well, after the reasons.
        reasons = [told(name, answer) for name, answer in failed.items()]
        others = [line for line in lines if line not in reasons]
        module.fail_json(msg="\n".join(reasons + others), changed=changed)
    shown = {}
    if module._diff and changed:
        texts = [told(name, answer) for name, answer in answers.items() if answer.get("changed")]
        shown["diff"] = {"prepared": "".join(f"{line}\n" for line in texts)}
    notes = [f"{name}: {note}" for name, answer in answers.items() for note in answer.get("notes", [])]
    module.exit_json(changed=changed, msg=lines, notes=notes, **shown)


if __name__ == "__main__":
    main()
