"""Action sites_answer: asks all sites of a host for a page, from this machine or else from the host itself."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase, VariableLayer
from ansible_collections.slipway.stack.plugins.filter.slipway_roles import summary_certificates
from ansible_collections.slipway.stack.plugins.modules.site_answer import ask_all

DOCUMENTATION = r"""
module: sites_answer
short_description: Asks all sites of a host for a page over verified HTTPS
description:
  - Asks from this machine, as visitors do. Where it doesn't reach the address, the module M(site_answer) asks from the
    host itself.
  - Fails with the first site that doesn't answer, and the names of all others that don't.
  - Sets C(__slipway_certificates), the certificates that were seen, and C(__slipway_notes), what is to be known of how
    they were, for the summary.
options:
  address:
    description: Where visitors reach the sites.
    type: str
    required: true
  own_address:
    description: The host's own address.
    type: str
    required: true
  port:
    description: Port of HTTPS.
    type: int
    required: true
  sites:
    description:
      - The sites, each with its C(name), and its C(names), the first of which is asked for.
      - C(local) tells whether the authority below must have signed, which is so by default. Of other certificates it is
        noted if this machine doesn't know who issued them.
    type: list
    elements: dict
    required: true
  ca:
    description: Certificate of the local authority, as PEM.
    type: str
    required: true
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Check the sites
  sites_answer:
    address: 198.51.100.7
    own_address: 10.0.0.7
    port: 443
    sites:
      - name: blog
        names: [blog.example.test, www.blog.example.test]
    ca: "{{ lookup('ansible.builtin.file', '.slipway/ca/ca.crt') }}"
"""

_TIMEOUT = 60.0  # seconds until all sites must have answered
_REACH = 10.0  # seconds until the address must have answered anything over TLS


def problem(host: str, sites: list[dict[str, Any]], where: str, port: int) -> str:
    """Return what is wrong with the sites of a host; an empty text where all answered."""
    silent = [site for site in sites if site["problem"]]
    if not silent:
        return ""
    text = f"{host}: https://{silent[0]['names'][0]}/ at {where} port {port} {silent[0]['problem']}"
    others = ", ".join(site["names"][0] for site in silent[1:])
    return f"{text}; wrong as well: {others}" if others else text


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Asks here, and there if need be."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is wrong, if anything is."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            {
                "address": {"type": "str", "required": True},
                "own_address": {"type": "str", "required": True},
                "port": {"type": "int", "required": True},
                "sites": {"type": "list", "elements": "dict", "required": True},
                "ca": {"type": "str", "required": True},
            }
        )
        host = str((task_vars or {})["inventory_hostname"])
        address, own, port = str(given["address"]), str(given["own_address"]), int(given["port"])
        sites = [
            {
                "name": str(site["name"]),
                "names": [str(name) for name in site["names"]],
                "local": bool(site.get("local", True)),
            }
            for site in given["sites"]
        ]
        seen = ask_all((address, port), sites, "/", str(given["ca"]), [200], _TIMEOUT, _REACH)
        notes, where = [], address
        if not seen["reached"]:
            arguments = {"address": own, "port": port, "sites": sites, "ca": str(given["ca"])}
            # By the name that this task was called by: the short one is known in the checkout, and in the collection.
            name = self._task.action.replace("sites_answer", "site_answer")
            seen = self._execute_module(module_name=name, module_args=arguments, task_vars=task_vars)
            if seen.get("failed"):
                return {**result, **seen}
            where = f"{own} (asked from the host itself, since {address} is out of reach of this machine)"
            notes = [
                f"{host}: {address} port {port} is out of reach of this machine, so the sites were checked from the "
                f"host itself, at {own}; if visitors use another address, set slipway_address"
            ]
        wrong = problem(host, seen["sites"], where, port)
        if wrong:
            return {**result, "failed": True, "msg": wrong}
        notes += [
            f"{host}: {where} doesn't know who issued the certificate of {', '.join(untrusted)}"
            for untrusted in [[site["name"] for site in seen["sites"] if not site["trusted"]]]
            if untrusted
        ]
        certificates = [{**one, "host": host} for one in summary_certificates(seen["sites"])]
        # As set_fact does.
        self.register_host_variables({}, VariableLayer.CACHEABLE_FACT)
        self.register_host_variables(
            {"__slipway_certificates": certificates, "__slipway_notes": notes}, VariableLayer.EPHEMERAL_FACT
        )
        return {**result, "changed": False}
