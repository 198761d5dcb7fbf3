"""Which users differ from what they are to be, by the users and groups of this machine."""

from __future__ import annotations

import grp
import pwd
from typing import Any

import pytest

from plugins.modules.accounts import difference

ROOT = pwd.getpwnam("root")
GROUPS = grp.getgrall()
OTHER = next(group for group in GROUPS if "root" not in group.gr_mem and group.gr_gid != ROOT.pw_gid)
WANTED: dict[str, Any] = {
    "name": "root",
    "uid": ROOT.pw_uid,
    "groups": [],
    "gids": [],
    "home": ROOT.pw_dir,
    "shell": ROOT.pw_shell,
}
NEW = {**WANTED, "name": "no-such-user", "uid": 54321, "home": "/srv/none"}
CHECKS = pytest.mark.parametrize("check", [False, True], ids=["run", "check"])


@CHECKS
def test_a_user_that_is_as_it_is_to_be_doesn_t_differ(check: bool) -> None:
    assert difference(WANTED, GROUPS, check=check) is None
    # Its own group is one that it is in.
    assert difference({**WANTED, "groups": ["root"], "gids": [0, 54321]}, GROUPS, check=check) is None


@pytest.mark.parametrize("key", ["home", "shell"])
def test_another_home_or_shell_is_a_difference(key: str) -> None:
    found = difference({**WANTED, key: "/other"}, GROUPS, check=False)
    assert found is not None
    assert (found["before"][key], found["after"][key], found["group"]) == (WANTED[key], "/other", False)


@pytest.mark.parametrize("asked", [{"groups": [OTHER.gr_name]}, {"gids": [OTHER.gr_gid]}], ids=["name", "number"])
def test_a_group_that_it_is_not_in_is_a_difference(asked: dict[str, Any]) -> None:
    for user in ({**WANTED, **asked}, {**WANTED, "uid": None, **asked}):
        found = difference(user, GROUPS, check=False)
        assert found is not None
        assert found["groups"] == [OTHER.gr_name]


@CHECKS
def test_a_new_user_is_made_with_its_group(check: bool) -> None:
    found = difference(NEW, GROUPS, check=check)
    assert found is not None
    assert (found["group"], found["before"], found["after"]["uid"]) == (True, {}, 54321)


def test_a_group_that_isn_t_there_counts_where_it_can_be_joined() -> None:
    user = {**WANTED, "groups": ["no-such-group"]}
    assert difference(user, GROUPS, check=True) is None
    found = difference(user, GROUPS, check=False)
    assert found is not None
    assert found["groups"] == ["no-such-group"]


def test_a_user_of_a_package_is_nobody_s_to_make() -> None:
    user = {**WANTED, "name": "no-such-user", "uid": None, "gids": [0]}
    assert difference(user, GROUPS, check=True) is None
    assert difference(user, GROUPS, check=False) is not None
