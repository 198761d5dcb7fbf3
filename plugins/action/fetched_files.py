"""Action fetched_files: brings files to the host, from a web server or from the controller."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.slipway.stack.plugins.plugin_utils.actions import run_other

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


def fault(url: str, checksum: str, subject: str) -> str:
    """Return why a file can't be asked for, in one line that names the subject and the URL; or nothing."""
    if not _URL.fullmatch(url):
        allowed = "an http:// or https:// URL, or file:///path on the controller"
        return f"{subject}: {without_password(url)!r} is not allowed; give {allowed}"
    if not _CHECKSUM.fullmatch(checksum):
        return f"{subject}: the checksum {checksum!r} is not allowed; give sha256:<hex digits>"
    path = local_path(url)
    wrong = local_fault(path, checksum) if path is not None else ""
    return f"{subject}: {without_password(url)}: {wrong}" if wrong else ""


class ActionModule(ActionBase):  # type: ignore[misc]
    """Brings the files that differ to the host."""

    _supports_check_mode = True
    _supports_diff = True
    _VALID_ARGS = frozenset({"files"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result; a failure is one line for each file, which names the subject and the URL."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        files = [{"mode": "0644", **file} for file in self._task.args["files"]]
        faults = [wrong for file in files if (wrong := fault(file["url"], file["checksum"], file["subject"]))]
        if faults:
            raise AnsibleActionFail("\n".join(faults))
        asked = {"files": [{key: file[key] for key in ("dest", "checksum", "mode")} for file in files]}
        # By the name it was called by: the short one is known in the checkout, and in the collection's own roles.
        looked = self._execute_module(self._task.action, asked, task_vars=task_vars) if files else {"differing": {}}
        if looked.get("failed"):
            return {**result, **looked}
        for file in files:
            if file["dest"] in looked["differing"]:
                self._bring(file, task_vars, there=not looked["differing"][file["dest"]])
        if self._task.diff and looked["differing"]:
            fetched = [file["subject"] for file in files if file["dest"] in looked["differing"]]
            result["diff"] = {"prepared": "".join(f"fetch {subject}\n" for subject in fetched)}
        return {**result, "changed": bool(looked["differing"]), "dests": list(looked["differing"])}

    def _bring(self, file: dict[str, Any], task_vars: dict[str, Any] | None, *, there: bool) -> None:
        """Bring one file to the host; in check mode only ask whether it could be brought."""
        path = local_path(file["url"])
        arguments = {"dest": file["dest"], "mode": file["mode"], "owner": "root", "group": "root"}
        if path is not None:
            done = run_other(self, "ansible.legacy.copy", {**arguments, "src": path}, task_vars)
        else:
            done = self._fetch({**arguments, "url": file["url"], "checksum": file["checksum"]}, task_vars, there=there)
        # What the modules tell besides holds the URL, maybe with a password.
        if done.get("failed"):
            shown = f"{file['subject']}: {without_password(file['url'])}"
            raise AnsibleActionFail(f"{shown} could not be fetched: {self._reason(done, file['checksum'])}")

    def _fetch(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None, *, there: bool) -> dict[str, Any]:
        if self._task.check_mode and not there:
            # The folder may not be there yet, and the module refuses that. All it does is to ask for the headers.
            arguments = {**arguments, "dest": f"/tmp/slipway-{arguments['checksum'].partition(':')[2]}"}  # noqa: S108
            done: dict[str, Any] = self._execute_module("ansible.legacy.get_url", arguments, task_vars=task_vars)
            return {} if done.get("status_code") in _NO_HEAD else done
        fetched: dict[str, Any] = self._execute_module("ansible.legacy.get_url", arguments, task_vars=task_vars)
        return fetched

    @staticmethod
    def _reason(done: dict[str, Any], checksum: str) -> str:
        """Return why a module failed, in a few words."""
        message = str(done.get("msg", "")).strip()
        if "The checksum for " in message:
            got = message.rstrip(".").rpartition(" ")[2]
            return f"it has the checksum {got}, not {checksum.partition(':')[2]}"
        more = str(done.get("response") or "").strip()
        return f"{message} ({more})" if more and more not in message else message
