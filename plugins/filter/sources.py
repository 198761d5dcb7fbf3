"""Filters of what comes from elsewhere: why it can't be brought to a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.slipway.stack.plugins.action.fetched_files import fault
from ansible_collections.slipway.stack.plugins.modules.site_content import ContentError, complete, read_folder

DOCUMENTATION = r"""
name: sources
short_description: Why what comes from elsewhere can't be brought to a host
description:
  - C(fetch_fault) returns why a file, as M(fetched_files) takes it, can't be asked for, in one line; a file on the
    controller is compared with its checksum.
  - C(folder_fault) returns why the content of a folder on the controller can't be deployed, in one line.
  - Both return an empty text where nothing is wrong.
  - C(static_site_account) returns the user of a static site's http-server, as M(accounts) takes it.
"""


def fetch_fault(file: dict[str, Any]) -> str:
    """Return what is wrong with a file that is to be fetched."""
    wrong: str = fault(file["url"], file["checksum"], file["subject"])
    return wrong


def folder_fault(folder: str) -> str:
    """Return what is wrong with a folder that is to be deployed."""
    try:
        complete(read_folder(Path(folder).expanduser(), []))
    except (ContentError, OSError) as error:
        return f"{folder}: {error}"
    return ""


def account(site: dict[str, Any], folder: str, shell: str) -> dict[str, Any]:
    """Return the user of a static site's http-server, as M(accounts) takes it."""
    return {"name": site["name"], "uid": int(site["uid"]), "home": f"{folder}/{site['name']}", "shell": shell}


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"fetch_fault": fetch_fault, "folder_fault": folder_fault, "static_site_account": account}
