"""Filters of the role container_stack: image tags and Compose fragments from one declaration."""

from __future__ import annotations

import fnmatch
import hashlib
import ipaddress
import json
from typing import Any

DOCUMENTATION = r"""
name: container_stack
short_description: Image tags and Compose fragments from one service declaration
description:
  - C(container_stack_image_tag) names an image after what it is made of, so that it is built exactly when that changes.
  - C(container_stack_fragment) turns a declaration of the role container_stack into one Compose file.
  - C(container_stack_files) and C(container_stack_secrets) name what it has on the host.
  - C(container_stack_outdated_networks) names the networks that have other settings than they should.
  - C(container_stack_subnet_errors) tells which of their subnets can't be had.
  - C(container_stack_leftovers) tells which files of a declaration of before are left.
"""

# What every container gets unless its definition says otherwise.
# CIS Docker Benchmark 1.6: 5.3 capabilities, 5.12 read-only root, 5.25 no-new-privileges, 5.28 PID limit.
CONTAINER_DEFAULTS: dict[str, Any] = {
    "restart": "unless-stopped",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "pids_limit": 256,
}


# Asked every second while it starts, so that nobody waits longer than the server needs; then seldom, since each
# question is a program that has to be started.
HEALTHCHECK_DEFAULTS: dict[str, Any] = {
    "interval": "15s",
    "timeout": "5s",
    "retries": 3,
    "start_period": "60s",
    "start_interval": "1s",
}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def image_tag(base: str, dockerfile: str, context: list[dict[str, Any]], refresh: str = "") -> str:
    """Return the tag (12 hex digits) of an image made from these inputs.

    ``refresh`` is any text; changing it gives a new tag, so a rebuild with today's packages.
    """
    files = [[str(item["dest"]), str(item["content"]), str(item.get("mode", ""))] for item in context]
    return _digest([base, dockerfile, sorted(files), refresh])[:12]


def _concerns(item: dict[str, Any], service: str) -> bool:
    """Tell whether a declared file is mounted by this Compose service."""
    return service in item.get("services", [service])


def _mount(volume: str) -> str:
    """Keep the Engine from giving an empty named volume the owner and mode of the image's folder."""
    if volume.startswith("/"):
        return volume
    options = volume.split(":")[2:]
    return ":".join([*volume.split(":")[:2], ",".join([*options, "nocopy"])])


def fragment(
    declaration: dict[str, Any],
    image: str,
    base: str,
    stack_dir: str,
    volumes_dir: str,
    project: str,
    volumes_before: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the Compose file (a mapping) of a declaration; ``volumes_before`` are those of the file it replaces.

    ``archive`` in it is the folder by which builds reach the distribution's archive; empty with a base image by digest.

    A label holds the checksum of the files and secrets a container uses, and when each was written (``written``, by its
    path): Compose recreates a container when its definition changes, and doesn't look into the files it mounts. A file
    that was changed by hand and put right says what it said before, but the container may have read the other one.
    """
    written = declaration.get("written", {})
    contents = {item["name"]: item["content"] for item in declaration.get("secrets", [])}
    services: dict[str, Any] = {}
    for name, definition in declaration["services"].items():
        used = {
            secret: [contents[secret], written.get(f"{stack_dir}/secrets/{secret}")]
            for secret in definition.get("secrets", [])
        }
        files = [
            [f["dest"], f["content"], written.get(f"{stack_dir}/{declaration['name']}/{f['dest']}")]
            for f in declaration.get("files", [])
            if _concerns(f, name)
        ]
        services[name] = {
            **CONTAINER_DEFAULTS,
            **definition,
            "volumes": [_mount(volume) for volume in definition.get("volumes", [])],
            **({"healthcheck": HEALTHCHECK_DEFAULTS | check} if (check := definition.get("healthcheck")) else {}),
            "image": image,
            # Compose would ask a registry for the image before it builds it, and whoever owns the name there would
            # run code with these secrets.
            "pull_policy": "never",
            # Built once: services that build one image at the same time end up with different ones, and the next run
            # would replace their containers.
            **(
                {}
                if services
                else {
                    "build": {
                        "context": f"{stack_dir}/{declaration['name']}/build",
                        "args": {"BASE": base},
                        # So that it reaches proxies and resolvers that listen on the host's loopback.
                        "network": "host",
                        **(
                            {"additional_contexts": {"archive": folder}}
                            if (folder := declaration.get("archive"))
                            else {}
                        ),
                    }
                }
            ),
            "labels": {"slipway.content": _digest([files, used])},
        }
    result: dict[str, Any] = {"services": services}
    if declaration.get("volumes") or volumes_before:
        result["volumes"] = (volumes_before or {}) | {
            volume["name"]: {
                "name": f"{project}_{volume['name']}",
                "driver_opts": volume.get("driver_opts")
                or {"type": "none", "o": "bind", "device": f"{volumes_dir}/{volume['name']}"},
            }
            for volume in declaration.get("volumes", [])
        }
    if contents:
        result["secrets"] = {name: {"file": f"{stack_dir}/secrets/{name}"} for name in sorted(contents)}
    return result


def files(declaration: dict[str, Any], stack_dir: str, volumes_dir: str) -> dict[str, list[dict[str, Any]]]:
    """Return the folders and files of a declaration, but for secrets, as the module managed_files takes them."""
    own = f"{stack_dir}/{declaration['name']}"
    image = [{"dest": "Dockerfile", "content": declaration["dockerfile"]}, *declaration.get("context", [])]
    return {
        "folders": [
            *({"path": path, "mode": "0755"} for path in (own, f"{own}/build")),
            *(
                {
                    "path": f"{volumes_dir}/{volume['name']}",
                    "owner": volume["owner"],
                    "group": volume.get("group", volume["owner"]),
                    "mode": volume.get("mode", "0750"),
                }
                for volume in declaration.get("volumes", [])
                # The others are no folders of the host's disk.
                if "driver_opts" not in volume
            ),
        ],
        "files": [
            *(_file(f"{own}/build/{item['dest']}", {**item, "owner": "root", "group": "root"}) for item in image),
            *(_file(f"{own}/{item['dest']}", item) for item in declaration.get("files", [])),
        ],
    }


def secrets(declaration: dict[str, Any], stack_dir: str) -> list[dict[str, Any]]:
    """Return the files of a declaration's secrets, each for its owner alone, as the module managed_files takes them."""
    return [
        _file(f"{stack_dir}/secrets/{item['name']}", {**item, "group": item.get("owner", "root"), "mode": "0400"})
        for item in declaration.get("secrets", [])
    ]


def _file(path: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": path,
        "content": item["content"],
        "owner": item.get("owner", "root"),
        "group": item.get("group", "root"),
        "mode": item.get("mode", "0644"),
    }


def outdated_networks(wanted: dict[str, dict[str, Any]], inspected: list[dict[str, Any]], project: str) -> list[str]:
    """Return which of the wanted networks exist with other settings.

    ``wanted`` has ``internal``, ``ipv6`` and ``subnets`` by name, where no subnet of a family leaves the choice to the
    Engine; ``inspected`` is what the Engine says of those that exist.
    """
    there = {network["Name"]: network for network in inspected}
    result = []
    for name, network in wanted.items():
        found = there.get(f"{project}_{name}")
        if found is None:
            continue
        subnets = {config["Subnet"] for config in found["IPAM"]["Config"] or []}
        same = (found["Internal"], found["EnableIPv6"]) == (network["internal"], network["ipv6"])
        if not same or not subnets.issuperset(network["subnets"]):
            result.append(name)
    return result


def subnet_errors(
    wanted: dict[str, dict[str, Any]], inspected: list[dict[str, Any]], project: str, addresses: list[str]
) -> list[str]:
    """Return a line for each subnet that is none, or that the host or another network has already.

    ``wanted`` is as for :func:`outdated_networks`; ``inspected`` is what the Engine says of all networks; ``addresses``
    are the host's. Addresses of networks that are there are the host's as well, and no reason to refuse those.
    """
    own = {f"{project}_{name}" for name in wanted}
    taken: list[tuple[str, Any]] = []
    engine: list[Any] = []
    for network in inspected:
        for config in network["IPAM"]["Config"] or []:
            subnet = ipaddress.ip_network(config["Subnet"])
            engine.append(subnet)
            if network["Name"] not in own:
                taken.append((f"the network {network['Name']}", subnet))
    for text in addresses:
        address = ipaddress.ip_address(text)
        if not any(address in subnet for subnet in engine):
            taken.append(("the host's address", ipaddress.ip_network(address)))
    errors = []
    for name, network in wanted.items():
        for text in network["subnets"]:
            try:
                subnet = ipaddress.ip_network(text)
            except ValueError as error:
                errors.append(f"subnet of {name}: {error}")
                continue
            errors += [
                f"subnet of {name}: {text} overlaps with {what} {other}"
                for what, other in taken
                if other.version == subnet.version and other.overlaps(subnet)
            ]
            taken.append((f"that of {name},", subnet))
    return errors


def leftovers(present: list[str], declaration: dict[str, Any], stack_dir: str) -> list[str]:
    """Return those of the files in the service's folder and among the secrets that its declaration names no more.

    Services share the folder of secrets, so only those whose names fit its patterns ``secrets_pruned`` are its own.
    """
    folder = f"{stack_dir}/{declaration['name']}/"
    named = {folder + item["dest"] for item in declaration.get("files", [])}
    named |= {f"{stack_dir}/secrets/{item['name']}" for item in declaration.get("secrets", [])}
    patterns = [f"{stack_dir}/secrets/{pattern}" for pattern in declaration.get("secrets_pruned", [])]
    return sorted(
        path
        for path in set(present) - named
        if path.startswith(folder) or any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
    )


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "container_stack_image_tag": image_tag,
            "container_stack_fragment": fragment,
            "container_stack_files": files,
            "container_stack_secrets": secrets,
            "container_stack_outdated_networks": outdated_networks,
            "container_stack_subnet_errors": subnet_errors,
            "container_stack_leftovers": leftovers,
        }
