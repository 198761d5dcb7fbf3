"""The container stack's services: from a declaration to files, a Compose file, and what its containers are to be.

The action stack_service turns a declaration into what its module gets; the module asks the rest on the host.
"""

from __future__ import annotations

import fnmatch
import hashlib
import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADER = "# Written by Slipway; changes are overwritten.\n"
# Docker's runtime now and then fails to start a program in a container (runc 1.1): `docker exec` and
# `docker compose exec` end with this.
NOT_STARTED = 126
# How often a program is called that was not started, and the seconds between two calls.
_CALLS = 4
_PAUSE = 1.0

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


# The label by which a container shows what it was made of.
LABEL = "slipway.content"


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


def fragment(declaration: dict[str, Any], image: str, base: str, stack_dir: str, archive: str = "") -> dict[str, Any]:
    """Return the Compose file (a mapping) of a declaration, but for its volumes.

    ``archive`` is the folder by which builds reach the distribution's archive; empty with a base image by digest.

    A label holds the checksum of all that a container is made of, the files and secrets it mounts among it: Compose
    recreates a container when its definition changes, and doesn't look into files.
    """
    contents = {item["name"]: item["content"] for item in declaration.get("secrets", [])}
    services: dict[str, Any] = {}
    for name, given in declaration["services"].items():
        used = {secret: contents[secret] for secret in given.get("secrets", [])}
        files = [[f["dest"], f["content"]] for f in declaration.get("files", []) if _concerns(f, name)]
        definition = {
            **CONTAINER_DEFAULTS,
            **given,
            "volumes": [_mount(volume) for volume in given.get("volumes", [])],
            **({"healthcheck": HEALTHCHECK_DEFAULTS | check} if (check := given.get("healthcheck")) else {}),
            "image": image,
            # Compose would ask a registry for the image before it builds it, and whoever owns the name there would
            # run code with these secrets.
            "pull_policy": "never",
        }
        # Built once: services that build one image at the same time end up with different ones, and the next run
        # would replace their containers.
        if not services:
            definition["build"] = {
                "context": f"{stack_dir}/{declaration['name']}/build",
                "args": {"BASE": base},
                # So that it reaches proxies and resolvers that listen on the host's loopback.
                "network": "host",
                **({"additional_contexts": {"archive": archive}} if archive else {}),
            }
        services[name] = {**definition, "labels": {LABEL: _digest([name, definition, files, used])}}
    result: dict[str, Any] = {"services": services}
    if contents:
        result["secrets"] = {name: {"file": f"{stack_dir}/secrets/{name}"} for name in sorted(contents)}
    return result


def volumes(declaration: dict[str, Any], volumes_dir: str, project: str) -> dict[str, Any]:
    """Return the volumes of a declaration as a Compose file has them, by name."""
    return {
        volume["name"]: {
            "name": f"{project}_{volume['name']}",
            "driver_opts": volume.get("driver_opts")
            or {"type": "none", "o": "bind", "device": f"{volumes_dir}/{volume['name']}"},
        }
        for volume in declaration.get("volumes", [])
    }


def containers(declaration: dict[str, Any], made: dict[str, Any], stack_dir: str, project: str) -> dict[str, Any]:
    """Return by service what a container of it is to be; ``made`` is what :func:`fragment` returned.

    ``digest`` is its label in the Compose file, before the module adds when its ``mounts`` were written.
    """
    return {
        name: {
            "digest": definition["labels"][LABEL],
            "mounts": [
                *(
                    f"{stack_dir}/{declaration['name']}/{file['dest']}"
                    for file in declaration.get("files", [])
                    if _concerns(file, name)
                ),
                *(f"{stack_dir}/secrets/{secret}" for secret in definition.get("secrets", [])),
            ],
            # One that shares another's network has none of its own to compare.
            "networks": None
            if "network_mode" in definition
            else sorted(f"{project}_{network}" for network in definition.get("networks") or ["default"]),
            "checked": "healthcheck" in definition,
        }
        for name, definition in made["services"].items()
    }


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


def leftovers(present: Iterable[str], named: Iterable[str], folder: str, patterns: Iterable[str]) -> list[str]:
    """Return those of the files in the service's ``folder`` and among the secrets that it names no more.

    Services share the folder of secrets, so only those that fit its ``patterns``, each a path, are its own.
    """
    return sorted(
        path
        for path in set(present) - set(named)
        if path.startswith(f"{folder}/") or any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
    )


def section(text: str, name: str) -> dict[str, str]:
    """Return the entries of a section of a Compose file that Slipway wrote, each as it stands there.

    Such files are indented by two blanks, so a host needs no reader of YAML. What is not like that is passed over.
    """
    found = re.search(rf"(?m)^{re.escape(name)}:\n((?:[ #].*\n|\n)*)", text)
    parts = re.split(r"(?m)^  ([\w.-]+):", found[1])[1:] if found else []
    return dict(zip(parts[::2], parts[1::2], strict=True))


def composed(text: str, wanted: str, before: str, gone: Iterable[str] = ()) -> str:
    """Return a Compose file of ``text``, with the volumes of ``wanted`` and those that the file of ``before`` had.

    Volumes of before stay named, but for those that are ``gone``: another service may still mount them until its own
    file is written, and the data behind them stays as well. Compose makes none that nothing mounts.
    """
    kept = {name: rest for name, rest in section(before, "volumes").items() if name not in set(gone)}
    named = kept | section(wanted, "volumes")
    lines = "".join(f"  {name}:{rest}" for name, rest in sorted(named.items()))
    return f"{HEADER}{text}" + (f"volumes:\n{lines}" if lines else "")


def marked(text: str, services: dict[str, Any], written: dict[str, int]) -> tuple[str, dict[str, str]]:
    """Put into each service's label when its mounts were written, and return the text and the labels by service.

    A file that was changed by hand and put right says what it said before, but the container may have read the other
    one. ``written`` has the times by path; one without is still to be written.
    """
    labels = {}
    for name, service in services.items():
        labels[name] = _digest([service["digest"], [written.get(path) for path in service["mounts"]]])
        text = text.replace(service["digest"], labels[name])
    return text, labels


# One line a container, by `docker ps --format`.
_FIELDS = (
    '{{.Label "com.docker.compose.service"}}',
    '{{.Label "com.docker.compose.oneoff"}}',
    f'{{{{.Label "{LABEL}"}}}}',
    '{{.Label "com.docker.compose.config-hash"}}',
    "{{.ID}}",
    "{{.Image}}",
    "{{.State}}",
    "{{.Status}}",
    "{{.Networks}}",
)


@dataclass(frozen=True)
class Container:
    """A container as the Engine lists it."""

    service: str
    oneoff: str
    label: str
    config: str
    number: str
    image: str
    state: str
    status: str
    networks: str


def listing(docker: str, project: str) -> list[str]:
    """Return the call that lists the containers of a project, as :func:`listed` reads it."""
    label = f"label=com.docker.compose.project={project}"
    return [docker, "ps", "--all", "--no-trunc", "--filter", label, "--format", "\t".join(_FIELDS)]


def listed(output: str) -> list[Container]:
    """Return the containers of a project, but for those of a single program."""
    found = [Container(*line.split("\t")) for line in output.splitlines() if line]
    return [one for one in found if one.oneoff != "True"]


def differing(
    present: list[Container], services: dict[str, Any], labels: dict[str, str], image: str, applied: dict[str, str]
) -> list[str]:
    """Return the services without a container that runs as it is declared.

    Their containers are to have ``labels`` and ``image``, which the Engine names by its number where the name has
    become another's; and the checksums of :func:`configurations` that were ``applied``: a container that a person made
    by other files has another one.
    """
    result = []
    for name, service in services.items():
        own = [one for one in present if one.service == name]
        if not (
            len(own) == 1
            and own[0].label == labels[name]
            and own[0].image == image
            and own[0].config == applied.get(name)
            and own[0].state == "running"
            and (not service["checked"] or "(healthy)" in own[0].status)
            and service["networks"] in (None, sorted(own[0].networks.split(",")))
        ):
            result.append(name)
    return result


def configurations(present: list[Container], services: Iterable[str]) -> dict[str, str]:
    """Return by service the checksum that Compose gave the configuration of its container."""
    return {one.service: one.config for one in present if one.service in services}


def orphans(present: list[Container], texts: Iterable[str]) -> list[str]:
    """Return the services that have a container and stand in none of the Compose files."""
    known = {name for text in texts for name in section(text, "services")}
    return sorted({one.service for one in present} - known)


def called(call: Callable[[], tuple[int, str, str]]) -> tuple[int, str, str]:
    """Return a program's exit status, output and errors; call it again where it was not started.

    So it is as well where it ended before it had read its input, and with it what it said is lost.
    """
    for again in range(_CALLS - 1, -1, -1):
        try:
            result = call()
        except BrokenPipeError:
            if not again:
                raise
        else:
            if result[0] != NOT_STARTED or not again:
                return result
        time.sleep(_PAUSE)
    raise AssertionError


def mtimes(folders: Iterable[str]) -> dict[str, int]:
    """Return when each file in these folders was written, in nanoseconds, by its path."""
    paths = [path for folder in folders if (at := Path(folder)).is_dir() for path in at.iterdir()]
    return {str(path): path.stat().st_mtime_ns for path in paths if path.is_file()}
