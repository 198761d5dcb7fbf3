"""Action site_content: reads folders on the controller, and has the module of this name compare all sites with them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.slipway.stack.plugins.modules.site_content import (
    ContentError,
    complete,
    digest,
    read_folder,
)


def manifest(folder: str) -> dict[str, list[str]]:
    """Return kind and checksum, or target, of all in a folder. Raises ContentError and OSError."""
    content = complete(read_folder(Path(folder).expanduser(), []))
    found = {}
    for path, entry in content.items():
        value = entry.target
        if entry.kind == "file":
            with entry.open() as opened:
                value = digest(opened)
        found[path] = [entry.kind, value]
    return found


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Gives each site with a folder what is in it; a key of a repository is told by its checksum alone."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result, with the kinds of what is in the folders of sites that are due."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        manifests = {}
        if "sites" in arguments:
            told = []
            for site in arguments["sites"]:
                source, name = dict(site["source"]), site["name"]
                try:
                    if "folder" in source:
                        manifests[name] = source["manifest"] = manifest(source.pop("folder"))
                    if "key_file" in source:
                        key = Path(source.pop("key_file")).expanduser().read_bytes()
                        source["key"] = hashlib.sha256(key).hexdigest()
                except (ContentError, OSError) as error:
                    raise AnsibleActionFail(f"{name}: source.folder {site['source'].get('folder')}: {error}") from None
                told.append({"name": name, "source": source})
            arguments["sites"] = told
        # By the name it was called by: the short one is known in the checkout, and in the collection's own roles.
        module = self._execute_module(module_name=self._task.action, module_args=arguments, task_vars=task_vars)
        if "sites" in arguments and not module.get("failed"):
            # The URL of a repository may hold a password.
            module.pop("invocation", None)
            module["kinds"] = {
                name: {path: one[0] for path, one in entries.items()}
                for name, entries in manifests.items()
                if name in module["differing"]
            }
        return {**result, **module}
