"""No secret in what the tests print or write, whatever fails: by sessions over tests that fail on purpose."""

from __future__ import annotations

import base64
import html
import json
import re
import subprocess
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rendered import FEW, OTHERS, Rendered
from tests.rendered import SECRETS as AWKWARD_SECRETS
from tests.repository import ROOT
from tests.secrecy import HIDDEN, Secrets
from tests.unit.one_host import SITE, SSH

# As they are made, and as people and password managers make them.
MADE = "q7XvN2LrT8wZpK4hB9sDfG3mYc6JtE1u"
GIVEN = "Kombüse \"&<7>%s\\x'` $HOME tea"
MULTILINE = "-----BEGIN-----\nb3BlbnNzaC1rZXktdjE\n-----END-----"
FILES = {"blog_cache_password": MADE, "blog_wordpress_captain": GIVEN, "blog_ftp_password": MULTILINE}

# Every way to fail that comes to mind, each with a secret at hand.
TESTS = '''
"""Tests that fail."""

import base64, dataclasses, html, json, logging, sys, urllib.parse, warnings

import pytest

from tests.acceptance.summary import read


@pytest.fixture(scope="module")
def secrets(summary):
    return summary.secrets()


@dataclasses.dataclass
class Account:
    name: str
    password: str


def raise_with(text):
    local = [text]
    raise ValueError(f"{text} is wrong: {local}")


@pytest.fixture
def broken(secrets):
    raise RuntimeError(secrets)


@pytest.fixture
def broken_at_its_end(secrets):
    yield secrets
    raise RuntimeError(str(secrets))


def each(secrets):
    return [*secrets.values()]


def test_in_locals(secrets):
    cache, *others = each(secrets)
    nested = {"deep": [{"er": (cache, {others[0]})}]}
    assert nested == 1


def test_in_arguments(secrets):
    for value in each(secrets):
        raise_with(value)


def test_in_a_text(secrets):
    text = "x" * 300 + json.dumps(secrets) + "y" * 300
    for value in each(secrets):
        assert value not in text + value


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_in_a_text_that_is_shortened(secrets, cut):
    for value in each(secrets):
        assert "z" * (100 + cut) + value + "z" * 400 == ""


def test_equal(secrets):
    first, second, third = each(secrets)
    assert [first, second, third] == [second, first, third]


def test_lines(secrets):
    assert "\\n".join(["a", *each(secrets)]) == "\\n".join(["b", *each(secrets), "c"])


def test_account(secrets):
    assert Account("captain", each(secrets)[0]) == Account("captain", each(secrets)[1])


def test_bytes(secrets):
    assert b"x" * 70 + json.dumps(secrets).encode() == b"\\n".join(one.encode() for one in each(secrets))


def test_encoded(secrets):
    for value in each(secrets):
        data = value.encode()
        for before in range(3):
            print(base64.b64encode(b"u" * before + data + b"e"), base64.urlsafe_b64encode(b"u" * before + data))
        print(data.hex(), urllib.parse.quote(value), urllib.parse.quote_plus(value))
        print(html.escape(value), repr(repr(value)), json.dumps(secrets))
    headers = {"Authorization": "Basic " + base64.b64encode(f"captain:{each(secrets)[0]}".encode()).decode()}
    assert headers == {}


def test_in_a_call(secrets):
    assert str.isdigit(each(secrets)[0])
    assert not secrets


def test_in_a_message(secrets):
    assert False, f"the command failed: {secrets}"


def test_in_a_chain(secrets):
    try:
        raise_with(each(secrets)[0])
    except ValueError as error:
        error.add_note(each(secrets)[1])
        raise ExceptionGroup(each(secrets)[2], [KeyError(each(secrets)[1])]) from error


def test_captured(secrets, record_property, record_testsuite_property):
    for value in each(secrets):
        print(value)
        print(value, file=sys.stderr)
        logging.getLogger("any").error("it was %s", value)
        warnings.warn(value)
        record_property("one", value)
        record_testsuite_property("all", value)
    pytest.fail(str(secrets))


def test_skipped(secrets):
    pytest.skip(str(secrets))


@pytest.mark.xfail
def test_expected(secrets):
    pytest.xfail(str(secrets))


def test_fixture(broken):
    pass


def test_fixture_that_ends_badly(broken_at_its_end):
    pass


# A parameter that holds a secret, so that the test is called after it.
def pytest_generate_tests(metafunc):
    if "parameter" in metafunc.fixturenames:
        metafunc.parametrize("parameter", [*read(metafunc.config.getoption("--summary"))[0].secrets().values()])


def test_parameter(parameter):
    assert parameter == ""


def test_last(secrets):
    if pytest.ends:
        pytest.exit(f"no way with {secrets}")
'''

COLLECTION = """
import pytest

from tests.acceptance.summary import read

raise RuntimeError(f"broken with {[one.secrets() for one in read(pytest.path)]}")
"""


@dataclass
class Session:
    """What a session of pytest printed and wrote."""

    printed: str
    reports: list[Path]

    @property
    def text(self) -> str:
        return "\n".join([self.printed, *(path.read_text(encoding="utf-8") for path in self.reports)])


def run(folder: Path, *arguments: str, tests: str = TESTS) -> Session:
    """Run tests with the fixtures of the acceptance suite, for a host that was never there."""
    secrets = folder / "secrets"
    secrets.mkdir(parents=True)
    for name, value in FILES.items():
        (secrets / name).write_text(value, encoding="utf-8")
    summary = folder / "summary.json"
    made = {
        "sites": [SITE],
        "ca_certificate": str(folder / "ca.crt"),
        "secrets_dir": str(secrets),
        "hosts": [{"name": "vm1", "provider": "native", "ssh": SSH, "backends": {}}],
    }
    summary.write_text(json.dumps(made), encoding="utf-8")
    ends = "--ends" in arguments
    module = folder / "test_that_fails.py"
    head = f"import pathlib, pytest\npytest.ends = {ends}\npytest.path = pathlib.Path({str(summary)!r})\n"
    module.write_text(head + tests, encoding="utf-8")
    reports = [folder / name for name in ("report.html", "report.xml", "log.txt")]
    for path in reports:
        # As one of an earlier session, made by somebody who didn't think of it.
        path.touch(mode=0o644)
    html_file, xml_file, log_file = map(str, reports)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.conftest"),
            *("-p", "tests.acceptance.conftest", "--summary", str(summary), "--html", html_file),
            *("--self-contained-html", "--junit-xml", xml_file, "--log-file", log_file, str(module)),
            *(one for one in arguments if one != "--ends"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return Session(done.stdout + done.stderr, reports)


def shown(text: str) -> list[str]:
    """Return which secrets a text shows, in whatever form."""
    found = []
    for name, value in FILES.items():
        for line in value.splitlines():
            data = line.encode()
            middle = base64.b64encode(data).decode()[:16]
            forms = (
                *(line, repr(line)[1:-1], repr(data)[2:-1], json.dumps(line)[1:-1], html.escape(line), data.hex()),
                *(urllib.parse.quote(line), urllib.parse.quote_plus(line), middle),
                *(base64.b64encode(bytes(before) + data).decode()[4:20] for before in (1, 2)),
                html.escape(repr(data)[2:-1]),
                # What is left where a text was shortened or wrapped.
                *(line[start : start + 12] for start in range(len(line) - 12)),
            )
            found += [f"{name}: {form}" for form in forms if form in text]
    return found


SESSIONS: dict[str, list[str]] = {
    "as make verify": [],
    "all there is to show": ["-vvv", "--tb=long", "--showlocals", "-rA", "--color=yes", "--setup-show"],
    "native": ["--tb=native"],
    "not captured": ["-s", "-rA", "--log-cli-level=DEBUG"],
    "in workers": ["-n", "2", "-rA"],
    "cut": ["--ends"],
}


@pytest.mark.parametrize("arguments", SESSIONS.values(), ids=SESSIONS)
def test_no_secret_is_shown_whatever_fails(tmp_path: Path, arguments: list[str]) -> None:
    session = run(tmp_path, *arguments)
    # They were run, and it shows where they failed.
    assert " failed" in session.printed, session.printed[-2000:]
    assert "assert nested == 1" in session.text or "AssertionError" in session.text
    assert HIDDEN in session.text
    assert shown(session.text) == []
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in session.reports}
    assert modes == dict.fromkeys(modes, "0o600")
    assert "test_in_locals" in session.reports[0].read_text() or "--ends" in arguments


def test_no_secret_is_shown_where_a_file_of_tests_is_broken(tmp_path: Path) -> None:
    session = run(tmp_path, "-vv", "--tb=long", tests=COLLECTION)
    assert "broken with" in session.printed
    assert shown(session.text) == []


def test_what_is_no_secret_stays() -> None:
    secrets = Secrets()
    text = "the front page of blog.example.test has no title: 404 Not Found"
    assert secrets.clean(text) == text
    secrets.learn(*FILES.values())
    assert secrets.clean(text) == text
    assert secrets.clean(f"it was {MADE}, twice {MADE}.") == f"it was {HIDDEN}, twice {HIDDEN}."
    assert secrets.clean(f"a part: {MADE[5:20]}") == f"a part: {HIDDEN}"


@pytest.mark.parametrize("host", [FEW[0], pytest.param(OTHERS[0], marks=pytest.mark.platforms)], ids=["few", "others"])
def test_a_run_that_tells_all_tells_no_secret(rendered: Rendered) -> None:
    """With -vvv: items of loops, facts that are set, variables that are read, on every host of the rendered run."""
    assert "item=" in rendered.output
    names = "|".join(AWKWARD_SECRETS)
    assert sorted({line for line in rendered.output.splitlines() if re.search(rf"({names}) secret", line)}) == []
