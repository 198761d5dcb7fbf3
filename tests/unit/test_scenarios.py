"""The runner of the scenarios: what it plans, and what it prints."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lab import platforms
from lab.base import LabError
from tools import scenarios
from tools.scenarios import Job


def test_a_role_stands_for_all_its_scenarios() -> None:
    jobs, _ = scenarios.plan(["redis_cache"], ["debian13-systemd"])
    assert [job.scenario for job in jobs] == ["redis_cache", "redis_cache_compose"]


def test_a_scenario_stands_for_itself() -> None:
    jobs, _ = scenarios.plan(["redis_cache_compose"], ["debian13-systemd"])
    assert [job.scenario for job in jobs] == ["redis_cache_compose"]


def test_one_provider_may_be_chosen_and_the_other_is_said_to_be_left_out() -> None:
    jobs, left_out = scenarios.plan(["redis_cache"], ["debian13-systemd"], "native")
    assert [job.scenario for job in jobs] == ["redis_cache"]
    assert ("redis_cache_compose", "debian13-systemd", "PROVIDER is the other one") in left_out


def test_everything_is_run_or_left_out_with_a_reason() -> None:
    jobs, left_out = scenarios.plan([], list(platforms.PLATFORMS))
    assert len(jobs) + len(left_out) == len(scenarios.scenarios()) * len(platforms.PLATFORMS)
    assert all(reason for _, _, reason in left_out)
    assert ("redis_cache_compose", "debian12-systemd") in {(name, platform) for name, platform, _ in left_out}


def test_a_single_target_s_scenarios_are_divided_between_the_lanes() -> None:
    jobs, _ = scenarios.plan([], ["debian13-systemd"], "native")
    first, second = scenarios.divide(jobs, 2)
    assert [job.scenario for job in first + second] == [job.scenario for job in jobs]
    assert abs(len(first) - len(second)) <= 1
    assert {job.target for job in first} == {"molecule-native-debian13-systemd"}
    assert {job.target for job in second} == {"molecule-native2-debian13-systemd"}


def test_targets_of_their_own_are_not_divided() -> None:
    jobs, _ = scenarios.plan(["redis_cache"], ["debian13-systemd"])
    assert [[job.scenario for job in group] for group in scenarios.divide(jobs, 2)] == [
        ["redis_cache_compose"],
        ["redis_cache"],
    ]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(LabError, match="no scenario of nobody"):
        scenarios.plan(["nobody"], ["debian13-systemd"])


def test_the_side_effects_are_told_apart() -> None:
    assert scenarios.step_of("side_effect", "idempotence") == "check"
    assert scenarios.step_of("side_effect", "check") == "repair"
    assert scenarios.step_of("verify", "repair") == "verify"


def read(lines: str) -> scenarios.Progress:
    """Return what is known after these lines of Molecule's."""
    progress = scenarios.Progress(Job("ftp", "alpine"))
    for line in lines.splitlines(keepends=True):
        progress.read(line)
    return progress


def test_the_step_that_failed_is_named_not_the_one_that_cleans_up_after_it() -> None:
    progress = read(
        "INFO     [ftp > create] Executing\n"
        "INFO     [ftp > create] Executed: Successful\n"
        "INFO     [ftp > converge] Executing\n"
        "ERROR    [ftp > converge] \x1b[31mExecuted: Failed\x1b[0m\n"
        "WARNING  [ftp > destroy] Executing\n"
        "INFO     [ftp > destroy] Executed: Successful\n"
    )
    assert progress.failed == "converge"
    assert progress.step == "destroy"
    assert set(progress.job.seconds) == {"create", "converge"}


def test_a_playbook_that_is_missing_is_noticed() -> None:
    assert not read("INFO     [ftp > create] Executed: Successful\n").missing
    assert read("WARNING  [ftp > side_effect] Executed: Missing playbook (Remove from sequence)\n").missing


def follow(tmp_path: Path, script: str, timeout: float) -> tuple[int | None, list[str]]:
    """Run a shell's script as a scenario is run; return its exit code, and the lines that were told."""
    lines: list[str] = []
    log = tmp_path / "log"
    code = scenarios.follow(["sh", "-c", script], dict(os.environ), log, lines.append, timeout)
    assert log.read_text() == "".join(lines)
    return code, lines


def test_a_command_is_followed_to_its_end(tmp_path: Path) -> None:
    assert follow(tmp_path, "echo one; echo two >&2; exit 3", 60) == (3, ["one\n", "two\n"])


def test_a_command_that_hangs_in_silence_is_given_up_with_all_it_started(tmp_path: Path) -> None:
    """Neither ends when it is asked; and the program in the background keeps the output open."""
    began = time.monotonic()
    assert follow(tmp_path, "trap '' TERM; echo begun; sleep 300 & sleep 300", 1) == (None, ["begun\n"])
    assert time.monotonic() - began < 30


def test_a_failure_shows_in_the_table() -> None:
    good = Job("redis_cache", "debian13-systemd", {"create": 1.2, "converge": 20.6})
    bad = Job("ftp", "alpine", {"create": 1.0}, "create")
    head, first, second = scenarios.table([good, bad]).splitlines()
    assert head.split() == ["scenario", "platform", "create", "converge", "total", "outcome"]
    assert first.split() == ["redis_cache", "debian13-systemd", "1", "21", "22", "ok"]
    assert second.endswith("FAILED: create")


def test_what_is_left_out_is_said_once_for_each_reason() -> None:
    everything = [(name, "alpine", "no time") for name in scenarios.scenarios()]
    assert scenarios.omissions(everything) == "left out on alpine: all scenarios (no time)"
    assert scenarios.omissions([("ftp", "alpine", "b"), ("site", "alpine", "b")]) == "left out on alpine: ftp, site (b)"


def test_words_are_split_at_spaces_and_commas() -> None:
    assert scenarios.words(["a,b c", "", "d"]) == ["a", "b", "c", "d"]
