"""Action fetched_file: brings a file to the host, from a web server or from the controller."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

DOCUMENTATION = r"""
module: fetched_file
short_description: Brings a file to the host, from a web server or from the controller
description:
  - The host fetches what has a URL of a web server. C(file:///path) is a file on the controller, which is copied to the
    host; it is compared with its checksum before that.
  - In check mode nothing is fetched. The web server is only asked whether it has the file.
options:
  url:
    description: Where the file comes from.
    type: str
    required: true
  checksum:
    description: Its checksum, as C(algorithm:hex).
    type: str
    required: true
  subject:
    description: What asks for the file, such as a variable; messages begin with it.
    type: str
    required: true
  dest:
    description:
      - Where it lies on the host, root's. Without it the host is left alone, and only a file on the controller is
        compared with its checksum.
    type: path
  mode:
    description: Its mode.
    type: str
    default: '0644'
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Fetch the archive
  fetched_file:
    url: https://mirror.example.test/site.tar.gz
    checksum: sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    subject: docs
    dest: /srv/site.tar.gz
"""

_BLOCK = 1 << 20
_URL = re.compile(r"(https?|ftp)://[^/\s]\S*|file:///\S.*")
_CHECKSUM = re.compile(r"sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}", re.IGNORECASE)
# Answers of a server that has no HEAD, or not for this URL: that of a download signed for GET alone, for instance.
_NO_HEAD = {403, 405, 501}


def local_path(url: str) -> str | None:
    """Return the path of a ``file://`` URL (RFC 8089), or None for another URL."""
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "file" else None


def without_password(url: str) -> str:
    """Return a URL as it may be shown: without a login, and without a query, which may be a signature."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="..." if parts.query else ""))


def local_fault(path: str, checksum: str) -> str:
    """Return what is wrong with a file on the controller, or nothing."""
    file = Path(path)
    if not file.is_absolute() or not file.is_file():
        return "there is no such file on the controller"
    algorithm, _, wanted = checksum.partition(":")
    digest = hashlib.new(algorithm)
    try:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    got = digest.hexdigest()
    return "" if got == wanted.lower() else f"it has the checksum {got}, not {wanted}"


class ActionModule(ActionBase):  # type: ignore[misc]
    """Brings a file to the host."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset({"url", "checksum", "subject", "dest", "mode"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result; a failure is one line that names the subject and the URL."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        if not _URL.fullmatch(given["url"]):
            allowed = "an http:// or https:// URL, or file:///path on the controller"
            raise AnsibleActionFail(
                f"{given['subject']}: {without_password(given['url'])!r} is not allowed; give {allowed}"
            )
        if not _CHECKSUM.fullmatch(given["checksum"]):
            raise AnsibleActionFail(
                f"{given['subject']}: the checksum {given['checksum']!r} is not allowed; give sha256:<hex digits>"
            )
        shown = f"{given['subject']}: {without_password(given['url'])}"
        path = local_path(given["url"])
        if path is not None and (fault := local_fault(path, given["checksum"])):
            raise AnsibleActionFail(f"{shown}: {fault}")
        if not given.get("dest"):
            return {**result, "changed": False}
        file = {"dest": given["dest"], "mode": given.get("mode", "0644"), "owner": "root", "group": "root"}
        if path is not None:
            done = self._copy({**file, "src": path}, task_vars)
        else:
            done = self._fetch({**file, "url": given["url"], "checksum": given["checksum"]}, task_vars)
        if done.get("failed"):
            raise AnsibleActionFail(f"{shown} could not be fetched: {self._reason(done, given['checksum'])}")
        # What the modules tell besides holds the URL, maybe with a password.
        return {**result, "changed": bool(done.get("changed")), "dest": given["dest"]}

    def _copy(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        task = self._task.copy()
        task.args = arguments
        action = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        done: dict[str, Any] = action.run(task_vars=task_vars)
        return done

    def _fetch(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        if self._task.check_mode and not self._is_there(arguments, task_vars):
            # The folder may not be there yet, and the module refuses that. All it does is to ask for the headers.
            arguments = {**arguments, "dest": f"/tmp/slipway-{arguments['checksum'].partition(':')[2]}"}  # noqa: S108
            done = self._execute_module("ansible.legacy.get_url", arguments, task_vars=task_vars)
            if done.get("status_code") in _NO_HEAD:
                return {"changed": True}
            return {**done, "changed": True}
        found: dict[str, Any] = self._execute_module("ansible.legacy.get_url", arguments, task_vars=task_vars)
        return found

    def _is_there(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> bool:
        algorithm, _, wanted = arguments["checksum"].partition(":")
        asked = {"path": arguments["dest"], "checksum_algorithm": algorithm, "get_checksum": True}
        done = self._execute_module("ansible.legacy.stat", asked, task_vars=task_vars)
        return bool(done.get("stat", {}).get("checksum") == wanted.lower())

    @staticmethod
    def _reason(done: dict[str, Any], checksum: str) -> str:
        """Return why a module failed, in a few words."""
        message = str(done.get("msg", "")).strip()
        if "The checksum for " in message:
            got = message.rstrip(".").rpartition(" ")[2]
            return f"it has the checksum {got}, not {checksum.partition(':')[2]}"
        more = str(done.get("response") or "").strip()
        return f"{message} ({more})" if more and more not in message else message
