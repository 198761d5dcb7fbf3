"""Stands in for every module that would look at or change a host; answers what a later task may ask for."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

ANSWER: dict[str, Any] = {
    "changed": False,
    "rc": 0,
    "stdout": "",
    "stderr": "",
    "stdout_lines": [],
    "stat": {"exists": True, "isdir": True, "checksum": "0" * 64},
    "files": [],
    # As on a fresh host: the Engine, by its names.
    "missing": ["docker.io", "docker"],
    "differing": {"docs": "", "manual": ""},
    "unread": False,
    "running": True,
    "sum": "0" * 64,
    "found": {"ours": [], "own": [], "configs": [], "hosts": ["/etc/cloud/templates/hosts.tmpl"]},
    "matched": 0,
    "csr": "",
    "certificate": "",
    "fingerprints": {"sha256": ""},
    "valid_at": {"renewal": True},
    "image": "",
    "status": {},
    "query_result": [],
    "due": [],
    # Of the connection.
    "client": "192.0.2.99",
    "port": 22,
    "user": "operator",
    "listening": [],
    "server": True,
    "version": "10.0",
    "own": {},
    "settings": {"net.ipv4.tcp_syncookies": "1", "net.ipv4.conf.all.rp_filter": "1"},
    "left_out": {"not in this kernel": ["kernel.yama.ptrace_scope"]},
}
# Releases whose OpenSSH is not the one above; their files are read by that of Debian 12.
OLD_SSH = {("Debian", "12"), ("Ubuntu", "24")}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG002
        # As on a fresh host, so that the files of these settings are rendered too.
        due = "__host_baseline_look" in (self._task.register or {})
        if due and (task_vars or {}).get("__host_baseline_locale_file"):
            return {**ANSWER, "stdout_lines": ["timezone", "locale"]}
        facts = (task_vars or {}).get("ansible_facts", {})
        old = (facts.get("distribution"), facts.get("distribution_major_version")) in OLD_SSH
        return {**ANSWER, "version": "9.2"} if old else dict(ANSWER)
