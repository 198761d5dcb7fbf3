"""Image tags and Compose files: what is built or recreated again, and when."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from plugins.filter.container_stack import fragment, image_tag, leftovers, outdated_networks, subnet_errors
from tests.repository import ROOT

BASE = "slipway.invalid/base:trixie"
CONTEXT = [{"dest": "entry.sh", "content": "exec true", "mode": "0755"}, {"dest": "b", "content": "2"}]


def test_the_same_image_has_the_same_tag_whatever_the_order() -> None:
    tag = image_tag(BASE, "FROM x", CONTEXT)
    assert image_tag(BASE, "FROM x", CONTEXT[::-1]) == tag
    assert len(tag) == 12
    assert int(tag, 16)


@pytest.mark.parametrize(
    "changed",
    [
        ("slipway.invalid/base:forky", "FROM x", CONTEXT, ""),
        (BASE, "FROM y", CONTEXT, ""),
        (BASE, "FROM x", CONTEXT[:1], ""),
        (BASE, "FROM x", [{**CONTEXT[0], "mode": "0644"}, CONTEXT[1]], ""),
        (BASE, "FROM x", CONTEXT, "2026-11-24"),
    ],
    ids=["base", "Dockerfile", "file", "mode", "refresh"],
)
def test_whatever_goes_into_an_image_gives_it_another_tag(changed: tuple[Any, ...]) -> None:
    assert image_tag(*changed) != image_tag(BASE, "FROM x", CONTEXT)


def declaration(**changes: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "dockerfile": "FROM x",
        "files": [
            {"dest": "all.conf", "content": "1", "services": ["one", "two"]},
            {"dest": "two.conf", "content": "1", "services": ["two"]},
        ],
        "secrets": [{"name": "key", "content": "correct-horse"}],
        "volumes": [{"name": "data"}, {"name": "nfs", "driver_opts": {"type": "nfs"}}],
        "services": {"one": {"user": "1:1", "secrets": ["key"]}, "two": {"read_only": False}},
        **changes,
    }


def made(**changes: Any) -> dict[str, Any]:
    return fragment(declaration(**changes), "slipway.invalid/web:1", BASE, "/stack", "/volumes", "slipway")


def build(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(**changes)["services"]["one"]["build"]
    return found


def test_a_build_reaches_what_listens_on_the_host_s_loopback() -> None:
    assert build()["network"] == "host"


def test_a_build_is_given_the_way_to_the_archive_unless_its_base_has_one() -> None:
    assert build(archive="/stack/archive/files")["additional_contexts"] == {"archive": "/stack/archive/files"}
    assert "additional_contexts" not in build(archive="")


def test_packages_are_installed_directly_behind_run() -> None:
    """What installs them may begin with an option of RUN."""
    uses = [
        before
        for path in sorted(ROOT.glob("roles/*/templates/*.Dockerfile.j2"))
        for before in re.findall(r"(.*)\{\{\s*__container_stack_install\b", path.read_text(encoding="utf-8"))
    ]
    assert uses
    assert set(uses) == {"RUN "}


def labels(result: dict[str, Any]) -> dict[str, str]:
    return {name: service["labels"]["slipway.content"] for name, service in result["services"].items()}


def test_only_the_containers_that_use_a_changed_file_are_recreated() -> None:
    files = declaration()["files"]
    before, after = labels(made()), labels(made(files=[files[0], {**files[1], "content": "2"}]))
    assert after["one"] == before["one"]
    assert after["two"] != before["two"]


def test_a_changed_secret_recreates_the_containers_that_read_it() -> None:
    before, after = labels(made()), labels(made(secrets=[{"name": "key", "content": "battery-staple"}]))
    assert after["one"] != before["one"]
    assert after["two"] == before["two"]


def test_no_secret_is_in_the_compose_file() -> None:
    assert "correct-horse" not in json.dumps(made())
    assert made()["secrets"] == {"key": {"file": "/stack/secrets/key"}}


def test_every_container_is_locked_down_unless_it_says_otherwise() -> None:
    services = made()["services"]
    assert services["one"]["read_only"] is True
    assert services["two"]["read_only"] is False
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["pids_limit"] == 256
        assert service["restart"] == "unless-stopped"


def test_volumes_lie_in_their_folders_or_where_their_driver_puts_them() -> None:
    volumes = made()["volumes"]
    assert volumes["data"]["driver_opts"]["device"] == "/volumes/data"
    assert volumes["data"]["name"] == "slipway_data"
    assert volumes["nfs"]["driver_opts"] == {"type": "nfs"}


def test_without_volumes_and_secrets_there_are_none() -> None:
    result = made(volumes=[], secrets=[], services={"one": {}})
    assert result.keys() == {"services"}


def test_no_image_of_the_stack_can_come_from_a_registry() -> None:
    for service in made()["services"].values():
        assert service["pull_policy"] == "never"


def found(subnets: tuple[str, ...] = ("172.18.0.0/16",), *, ipv6: bool = False) -> dict[str, Any]:
    return {
        "Name": "slipway_frontend",
        "Internal": False,
        "EnableIPv6": ipv6,
        "IPAM": {"Config": [{"Subnet": subnet} for subnet in subnets]},
    }


WANTED = {"internal": False, "ipv6": False, "subnets": []}


@pytest.mark.parametrize(
    ("wanted", "present", "outdated"),
    [
        (WANTED, None, False),
        (WANTED, found(), False),
        (WANTED | {"subnets": ["172.18.0.0/16"]}, found(), False),
        (WANTED | {"subnets": ["10.99.1.0/24"]}, found(), True),
        (WANTED | {"internal": True}, found(), True),
        (WANTED | {"ipv6": True, "subnets": ["fd53::/64"]}, found(), True),
        (WANTED | {"ipv6": True, "subnets": ["fd53::/64"]}, found(("172.18.0.0/16", "fd53::/64"), ipv6=True), False),
        (WANTED | {"ipv6": True, "subnets": ["fd54::/64"]}, found(("172.18.0.0/16", "fd53::/64"), ipv6=True), True),
        (WANTED, found(("172.18.0.0/16", "fd53::/64"), ipv6=True), True),
    ],
)
def test_a_network_with_other_settings_is_made_again(
    wanted: dict[str, Any], present: dict[str, Any] | None, outdated: bool
) -> None:
    inspected = [present] if present else []
    assert outdated_networks({"frontend": wanted, "gone": wanted}, inspected, "slipway") == ["frontend"] * outdated


@pytest.mark.parametrize(
    ("subnets", "errors"),
    [
        ([], []),
        (["10.99.1.0/24", "fd53::/64"], []),
        # Its own of now may be kept.
        (["172.18.0.0/16"], []),
        (["172.20.3.0/24"], ["subnet of frontend: 172.20.3.0/24 overlaps with the network shop 172.20.0.0/16"]),
        (["192.0.2.0/24"], ["subnet of frontend: 192.0.2.0/24 overlaps with the host's address 192.0.2.7/32"]),
        (["10.99.1.7/24"], ["subnet of frontend: 10.99.1.7/24 has host bits set"]),
    ],
)
def test_a_subnet_that_cannot_be_had_is_told(subnets: list[str], errors: list[str]) -> None:
    inspected = [found(), {**found(("172.20.0.0/16",)), "Name": "shop"}]
    addresses = ["192.0.2.7", "172.18.0.1", "172.20.0.1", "2001:db8::7"]
    wanted = {"frontend": WANTED | {"subnets": subnets}}
    assert subnet_errors(wanted, inspected, "slipway", addresses) == errors


def test_two_networks_of_ours_have_two_subnets() -> None:
    wanted = {name: WANTED | {"subnets": ["10.99.0.0/16"]} for name in ("frontend", "backend")}
    assert subnet_errors(wanted, [], "slipway", []) == [
        "subnet of backend: 10.99.0.0/16 overlaps with that of frontend, 10.99.0.0/16"
    ]


def test_what_the_declaration_names_no_more_is_left_over() -> None:
    """Of the service's own folder, and of the secrets whose names are its own; those of other services stay."""
    present = [
        *("/stack/web/all.conf", "/stack/web/two.conf", "/stack/web/three.conf", "/stack/secrets/key"),
        *("/stack/secrets/other", "/stack/secrets/old_salts", "/stack/secrets/blog_salts"),
    ]
    secrets = [{"name": "key", "content": "1"}, {"name": "blog_salts", "content": "2"}]
    found = leftovers(present, declaration(secrets=secrets, secrets_pruned=["*_salts"]), "/stack")
    assert found == ["/stack/secrets/old_salts", "/stack/web/three.conf"]
    assert leftovers(present[:4], declaration(), "/stack") == ["/stack/web/three.conf"]
