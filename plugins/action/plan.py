"""Action plan: works out once, on the controller, what each role is told on a host, and sets that as facts."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase, VariableLayer
from ansible.plugins.loader import lookup_loader
from ansible.template import trust_as_template
from ansible_collections.slipway.stack.plugins.filter import slipway_platform, slipway_roles, slipway_sites
from ansible_collections.slipway.stack.plugins.module_utils import plan

DOCUMENTATION = r"""
module: plan
short_description: Works out what each role is told on a host
description:
  - Takes C(slipway_sites), the groups, the inventory's settings and the roles' own defaults, checks that all settings
    have their types, and sets the variables of the roles that the host has as facts, with what the playbooks have to
    know of it (memory, ports, room on the disks).
  - The facts are plain values, so no use of them works anything out again. They go before the inventory's values, last
    for the run and are in no cache of facts. The result of the task holds none of them, since passwords are among them.
  - Nothing on the host is looked at or changed.
options:
  final:
    description:
      - Whether nothing refuses the run any more, so that passwords that nobody gave are made and kept on the
        controller. Otherwise those that aren't there yet are made up, and never kept; so it is in check mode.
      - With it no type is checked and no role asserts its settings again, since that was done before.
    type: bool
    default: false
  show:
    description: Whether the result has what each role is told, with secrets masked, as C(plan).
    type: bool
    default: false
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Compute the variables of each role
  plan:
    final: true
"""

RETURN = r"""
plan:
  description: The variables of each role, and what the host must have, with secrets masked.
  returned: with C(show)
  type: dict
"""

_ROOT = Path(__file__).resolve().parents[2]
# Two machines may have one name, so a word of its own goes with it. It lies beside the locks that keep the runs of one
# user on one machine apart.
_OWNER = "~/.ansible/slipway/.controller"


class _Settings(Mapping[str, Any]):
    """Public variables of the roles, worked out when they are asked for."""

    def __init__(self, checked: dict[str, Any], templar: Any, raw: Mapping[str, Any]) -> None:
        """Take those that were checked, and all others as they are written."""
        self._known, self._templar, self._raw = dict(checked), templar, raw

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._templar.template(self._raw[name])
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Gathers what the plan is made of, and sets it."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return nothing of the plan, unless it is to be shown. Raises AnsibleError."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {"final": {"type": "bool", "default": False}, "show": {"type": "bool", "default": False}}
        )
        variables = task_vars or {}
        listed = self._read(_ROOT / "playbooks/vars/components.yml")
        components = listed["__slipway_components"]
        common = [*listed["__slipway_common_roles"], *listed["__slipway_hardening"].values()]
        names = [*dict.fromkeys(one["role"] for one in components), "tls_certificate", *common]
        specifications = {
            name: self._read(_ROOT / f"roles/{name}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
            # Of a final plan they were checked before.
            for name in names
            if arguments["show"] or not arguments["final"]
        }
        checked = self._checked(specifications, variables, plan.DERIVED)

        raw: dict[str, Any] = {}
        for name in names:
            for file in ("defaults/main.yml", "vars/main.yml"):
                raw |= self._read(_ROOT / f"roles/{name}/{file}")
        # What is set is never the plan's own: a role's default of one would only be in the way.
        raw |= {name: value for name, value in variables.items() if name not in plan.DERIVED}
        templar = self._templar.copy_with_new_env(available_variables=raw)
        settings = _Settings(checked, templar, raw)
        host = self._host(variables, settings)

        sites = templar.template(raw["slipway_sites"])
        made_names = slipway_sites.secret_names(sites)
        keep = arguments["final"] and not self._task.check_mode
        paths = slipway_sites.secret_paths(made_names, settings["slipway_secrets_dir"], not keep)
        complete = plan.sites_of(sites, dict(zip(made_names, self._passwords(paths, 32, variables), strict=True)), host)
        if keep:
            self._hide(Path(settings["slipway_state_dir"]).expanduser())
        told = plan.told(host, complete)
        try:
            figures = plan.figures(host, complete, told, components, settings)
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from error

        facts = {name: value for role in told.values() for name, value in role.items()}
        self._checked(specifications, facts, frozenset())
        facts |= figures | {
            "__slipway_planned": True,
            "__slipway_owner": self._owner(variables),
            "__slipway_sites": complete,
            "__slipway_logins": slipway_roles.summary_logins(complete, made_names, settings["slipway_secrets_dir"]),
        }
        if arguments["final"]:
            serving = plan.roles_of(host, components)
            # The roles need not look at their settings a second time.
            facts |= {f"__{name}_validated": True for name in [*serving, *common]}
            # In a final plan alone: of settings that are refused there may be none.
            known = raw | facts
            facts["__slipway_packages"] = self._packages(serving, host, templar, known)
            facts["__slipway_base_packages"] = self._packages(common, host, templar, known)
        # As set_fact does: for this run alone, never in a cache of facts.
        self.register_host_variables({}, VariableLayer.CACHEABLE_FACT)
        self.register_host_variables(facts, VariableLayer.EPHEMERAL_FACT)
        if arguments["show"]:
            secrets = frozenset().union(*(plan.secret_keys(options) for options in specifications.values()))
            result["plan"] = plan.masked(told, secrets) | {"host": plan.shown(figures)}
        return {**result, "changed": False}

    def _hide(self, folder: Path) -> None:
        """Have git leave out a folder of secrets, which may lie in a repository of the user's own."""
        ignored = folder / ".gitignore"
        # One that is called otherwise was made by the user, perhaps for other files as well.
        if folder.name == ".slipway" and not ignored.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignored.write_text("*\n", encoding="utf-8")

    def _packages(self, roles: list[str], host: plan.Host, templar: Any, variables: dict[str, Any]) -> list[str]:
        """Return the packages that the roles of a host have there, each once, in their order."""
        found: dict[str, None] = {}
        for role in roles:
            folder = _ROOT / f"roles/{role}/vars"
            known = dict(variables)
            for file in slipway_platform.platform_files(variables["ansible_facts"], str(folder), host.provider):
                known |= self._read(Path(file))
            name = f"__{role}_host_packages"
            if name in known:
                found |= dict.fromkeys(templar.copy_with_new_env(available_variables=known).template(known[name]))
        return list(found)

    def _read(self, path: Path) -> dict[str, Any]:
        """Return a file of variables as it is written; empty if it isn't there."""
        if not path.exists():
            return {}
        return dict(self._loader.load_from_file(str(path), cache="all", trusted_as_template=True) or {})

    def _checked(
        self, specifications: dict[str, Any], values: Mapping[str, Any], without: frozenset[str]
    ) -> dict[str, Any]:
        """Return all values that roles specify, with their types. Raises AnsibleActionFail for any other type."""
        checked: dict[str, Any] = {}
        errors: list[str] = []
        for options in specifications.values():
            wanted = {name: option for name, option in options.items() if name in values and name not in without}
            given = self._templar.template({name: values[name] for name in wanted})
            outcome = ArgumentSpecValidator(wanted).validate(given, validate_role_argument_spec=True)
            errors += outcome.error_messages
            checked |= {name: outcome.validated_parameters[name] for name in wanted}
        if errors:
            raise AnsibleActionFail("\n".join(errors))
        return checked

    def _host(self, variables: Mapping[str, Any], settings: Mapping[str, Any]) -> plan.Host:
        def of(name: str, variable: str, default: Any = "") -> Any:
            """Return a variable of any host; without a default it must be there."""
            fallback = "" if default is None else " | default(__default)"
            asked = trust_as_template(f"{{{{ hostvars[__host][__variable]{fallback} }}}}")
            named = {**variables, "__host": name, "__variable": variable, "__default": default}
            return self._templar.copy_with_new_env(available_variables=named).template(asked)

        def reached(name: str) -> dict[str, Any]:
            common = str(of(name, "ansible_ssh_common_args"))
            known_hosts = re.search(r"UserKnownHostsFile=(\S+)", common)
            return {
                "name": name,
                "host": str(of(name, "ansible_host", name)),
                "port": int(of(name, "ansible_port", 22)),
                "user": str(of(name, "ansible_user")),
                "private_key": str(of(name, "ansible_ssh_private_key_file")),
                "known_hosts": str(Path(known_hosts[1] if known_hosts else "~/.ssh/known_hosts").expanduser()),
            }

        def private_address(name: str) -> str:
            if name == variables["inventory_hostname"]:
                return str(settings["slipway_private_address"])
            return str(of(name, "slipway_private_address", None))

        return plan.Host(
            name=variables["inventory_hostname"],
            groups=frozenset(variables["group_names"]),
            members=dict(variables["groups"]),
            provider=settings["slipway_provider"],
            address=settings["slipway_address"],
            state_dir=settings["slipway_state_dir"],
            private_address=private_address,
            reached=reached,
            settings=settings,
        )

    def _passwords(self, paths: list[str], length: int, variables: Mapping[str, Any], *characters: str) -> list[str]:
        """Return what the files of secrets hold, which are made where they aren't there."""
        if not paths:
            return []
        lookup = lookup_loader.get("ansible.builtin.password", loader=self._loader, templar=self._templar)
        chars = list(characters) or ["ascii_letters", "digits"]
        return list(lookup.run(paths, variables, length=length, chars=chars))

    def _owner(self, variables: Mapping[str, Any]) -> str:
        """Return whose run this is."""
        word = self._passwords([_OWNER], 8, variables, "ascii_lowercase")[0]
        return f"{pwd.getpwuid(os.geteuid()).pw_name}@{os.uname().nodename} ({word})"
