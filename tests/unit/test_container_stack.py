"""Image tags and Compose files: what is built or recreated again, and when."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from plugins.action.stack_service import written
from plugins.module_utils.container_stack import (
    Container,
    called,
    composed,
    containers,
    differing,
    fragment,
    image_tag,
    leftovers,
    listed,
    marked,
    orphans,
    outdated_networks,
    section,
    subnet_errors,
    volumes,
)
from tests.repository import ROOT

BASE = "slipway.invalid/base:trixie"
IMAGE = "slipway.invalid/web:1"
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
    return fragment(declaration(**changes), IMAGE, BASE, "/stack")


def build(archive: str = "") -> dict[str, Any]:
    found: dict[str, Any] = fragment(declaration(), IMAGE, BASE, "/stack", archive)["services"]["one"]["build"]
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
    found = volumes(declaration(), "/volumes", "slipway")
    assert found["data"]["driver_opts"]["device"] == "/volumes/data"
    assert found["data"]["name"] == "slipway_data"
    assert found["nfs"]["driver_opts"] == {"type": "nfs"}


def test_without_volumes_and_secrets_there_are_none() -> None:
    result = made(volumes=[], secrets=[], services={"one": {}})
    assert result.keys() == {"services"}
    assert "\nvolumes:" not in composed(written(result), written({}), "")


# As Slipway wrote them before the module did.
BEFORE = """\
# Written by Slipway; changes are overwritten.
services:
  one:
    image: x
volumes:
  old:
    driver_opts:
      device: /volumes/old
      o: bind
      type: none
    name: slipway_old
  data:
    name: another
"""


def test_volumes_of_before_stay_named() -> None:
    text = composed(written(made()), written({"volumes": volumes(declaration(), "/volumes", "slipway")}), BEFORE)
    found = yaml.safe_load(text)
    assert found["services"] == made()["services"]
    assert found["volumes"]["old"] == yaml.safe_load(BEFORE)["volumes"]["old"]
    assert found["volumes"]["data"]["name"] == "slipway_data"
    assert composed(written(made()), section_text(text), "") == text


def section_text(text: str) -> str:
    """Return the section of the volumes of a Compose file."""
    return "volumes:\n" + text.partition("\nvolumes:\n")[2]


def test_a_section_ends_where_the_next_begins_and_strangers_files_have_none() -> None:
    assert list(section(BEFORE, "services")) == ["one"]
    assert list(section(BEFORE, "volumes")) == ["old", "data"]
    assert section("{broken: [", "services") == {}
    assert section("services: {}\n", "services") == {}


NOW = {"/stack/web/all.conf": 1, "/stack/web/two.conf": 1, "/stack/secrets/key": 1}


def final(written_at: dict[str, int]) -> tuple[str, dict[str, str]]:
    told = containers(declaration(), made(), "/stack", "slipway")
    found: tuple[str, dict[str, str]] = marked(written(made()), told, written_at)
    return found


@pytest.mark.parametrize(
    ("path", "recreated"),
    [("/stack/web/all.conf", {"one", "two"}), ("/stack/web/two.conf", {"two"}), ("/stack/secrets/key", {"one"})],
)
def test_a_file_that_was_written_again_recreates_what_mounts_it(path: str, recreated: set[str]) -> None:
    """It says what it said before, but the container may have read what it said in between."""
    text, before = final(NOW)
    again, after = final(NOW | {path: 2})
    assert {name for name in before if before[name] != after[name]} == recreated
    assert all(label in text for label in before.values())
    assert all(label in again for label in after.values())


def running(name: str, **changes: str) -> Container:
    label = final(NOW)[1][name]
    values = {"oneoff": "False", "label": label, "config": f"c-{name}", "number": "1", "image": IMAGE}
    values |= {"state": "running", "status": "Up 2 hours (healthy)", "networks": "slipway_default"}
    return Container(service=name, **{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, True),
        ({"status": "Up 3 seconds"}, True),
        ({"label": "another"}, False),
        # The name was given to another image.
        ({"image": "sha256:0123"}, False),
        ({"config": "of other files"}, False),
        ({"state": "exited", "status": "Exited (0) 2 minutes ago"}, False),
        ({"state": "paused"}, False),
        ({"networks": "bridge"}, False),
        ({"networks": ""}, False),
    ],
)
def test_a_container_that_is_not_as_declared_is_found(changes: dict[str, str], right: bool) -> None:
    told = containers(declaration(), made(), "/stack", "slipway")
    noted = {"one": "c-one", "two": "c-two"}
    present = [running("one", **changes), running("two")]
    assert differing(present, told, final(NOW)[1], IMAGE, noted) == ([] if right else ["one"])


@pytest.mark.parametrize("status", ["Up 3 seconds (health: starting)", "Up 3 hours (unhealthy)"])
def test_one_with_a_health_check_must_be_healthy(status: str) -> None:
    told = containers(declaration(), made(), "/stack", "slipway")
    told["one"]["checked"] = True
    noted = {"one": "c-one", "two": "c-two"}
    labels_now = final(NOW)[1]
    assert differing([running("one"), running("two")], told, labels_now, IMAGE, noted) == []
    assert differing([running("one", status=status), running("two")], told, labels_now, IMAGE, noted) == ["one"]


def test_one_that_is_gone_or_there_twice_is_found() -> None:
    told = containers(declaration(), made(), "/stack", "slipway")
    noted = {"one": "c-one", "two": "c-two"}
    both = [running("two"), running("two", number="2")]
    assert differing(both, told, final(NOW)[1], IMAGE, noted) == ["one", "two"]
    assert differing([running("one"), running("two")], told, final(NOW)[1], IMAGE, {}) == ["one", "two"]


def test_containers_of_no_compose_file_are_orphans_but_for_single_programs() -> None:
    line = "\t".join(["gone", "False", "", "c", "7", "x", "exited", "Exited (1)", "slipway_backend"])
    single = line.replace("False", "True").replace("gone", "one-off")
    present = listed(f"{line}\n{single}\n")
    assert orphans([*present, running("one")], [BEFORE]) == ["gone"]
    assert orphans([running("one")], [BEFORE]) == []


@pytest.mark.parametrize(
    ("answers", "result", "calls"),
    [
        ([(0, "out", "")], 0, 1),
        ([(1, "", "no")], 1, 1),
        ([(126, "", "OCI runtime"), (0, "out", "")], 0, 2),
        ([BrokenPipeError(), (0, "out", "")], 0, 2),
        ([(126, "", "")] * 5, 126, 4),
    ],
)
def test_a_program_that_was_not_started_is_called_again(
    monkeypatch: pytest.MonkeyPatch, answers: list[Any], result: int, calls: int
) -> None:
    monkeypatch.setattr("plugins.module_utils.container_stack._PAUSE", 0)
    left = iter(answers)
    made_calls = []

    def call() -> tuple[int, str, str]:
        answer: Any = next(left)
        made_calls.append(answer)
        if isinstance(answer, Exception):
            raise answer
        found: tuple[int, str, str] = answer
        return found

    assert called(call)[0] == result
    assert len(made_calls) == calls


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
    named = ["/stack/web/all.conf", "/stack/web/two.conf", "/stack/secrets/key", "/stack/secrets/blog_salts"]
    found = leftovers(present, named, "/stack/web", ["/stack/secrets/*_salts"])
    assert found == ["/stack/secrets/old_salts", "/stack/web/three.conf"]
    assert leftovers(present, named, "/stack/web", []) == ["/stack/web/three.conf"]
