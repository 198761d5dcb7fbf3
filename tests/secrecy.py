"""No secret in what pytest prints or writes.

A test that fails shows what it compared, and by that a password. So every secret that the tests get to know is told to
:func:`learn`, and whatever leaves pytest goes through :func:`clean`: the reports of tests, from which the terminal and
the HTML and JUnit files are fed, and the terminal's own lines.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
import urllib.parse
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, TextIO

import pytest

HIDDEN = "***"
# Where a report shortens or wraps a text, a part of a secret is left: characters in a row that count as such a part.
# Half of a short secret; so much of a long one.
LONGEST_PART = 10
SHORTEST_PART = 6
# Shorter than any password that Slipway takes: such a word would be hidden wherever it stands.
SHORTEST = 4
# Colours, which may come in the middle of a word.
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Files that pytest and its plugins write, by option.
REPORTS = ("xmlpath", "htmlpath", "log_file")


class Secrets:
    """The secrets that are known so far, in every way they may be written."""

    def __init__(self) -> None:
        """Know none."""
        self._known: set[str] = set()
        # Length of a part => the parts of that length.
        self._parts: dict[int, set[str]] = {}

    def learn(self, *values: str) -> None:
        """Keep these secrets out of what is shown from now on; the lines of a longer text count each."""
        for value in values:
            for line in {value, value.strip(), *value.splitlines()}:
                if len(line) >= SHORTEST and line not in self._known:
                    self._known.add(line)
                    for form in _forms(line):
                        self._take(form)

    def _take(self, form: str) -> None:
        length = min(len(form), max(SHORTEST_PART, min(LONGEST_PART, len(form) // 2)))
        parts = self._parts.setdefault(length, set())
        parts.update(form[start : start + length] for start in range(len(form) - length + 1))

    def clean(self, text: str) -> str:
        """Return a text without them."""
        if not self._known or len(text) < SHORTEST:
            return text
        # Place of each character that is seen, so that a colour hides nothing.
        places = list(range(len(text)))
        seen = text
        if "\x1b" in text:
            colours = {place for found in _COLOUR.finditer(text) for place in range(*found.span())}
            places = [place for place in places if place not in colours]
            seen = "".join(text[place] for place in places)
        marked = bytearray(len(seen))
        for length, parts in self._parts.items():
            for start in [one for one in range(len(seen) - length + 1) if seen[one : one + length] in parts]:
                marked[start : start + length] = b"\1" * length
        if not any(marked):
            return text
        hidden = {places[index] for index, mark in enumerate(marked) if mark}
        return _replace(text, hidden)


def _replace(text: str, hidden: set[int]) -> str:
    result: list[str] = []
    inside = False
    for place, character in enumerate(text):
        if place not in hidden:
            result.append(character)
        elif not inside:
            result.append(HIDDEN)
        inside = place in hidden
    return "".join(result)


def _forms(value: str) -> set[str]:
    """Return a secret as the programs at hand write it: in Python, JSON, HTML, URLs, a shell, YAML, base64, hex."""
    data = value.encode()
    once = {
        value,
        repr(value)[1:-1],
        repr(data)[2:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        html.escape(value, quote=False),
        urllib.parse.quote(value),
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote_plus(value),
        value.replace("'", "'\"'\"'"),
        value.replace("'", "''"),
        value.replace("'", "\\'"),
        data.hex(),
        data.hex().upper(),
        *_base64(data),
    }
    # A text in a text: JSON that Python shows.
    twice = {repr(form)[1:-1] for form in once} | {json.dumps(form)[1:-1] for form in once}
    return {form for form in once | twice if len(form) >= SHORTEST}


def _base64(data: bytes) -> Iterable[str]:
    """Yield what base64 makes of it, wherever it stands in what is encoded (three bytes are four characters)."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        # The first character or two have bits of what goes before, the last one of what follows.
        inner = text[(before * 8 + 5) // 6 : len(text) - (1 if (before + len(data)) % 3 else 0)]
        yield inner
        yield inner.translate(str.maketrans("+/", "-_"))


SECRETS = Secrets()
learn = SECRETS.learn
clean = SECRETS.clean


def cleaned(value: Any) -> Any:
    """Return a value of plain types with every text in it cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(cleaned, value))
    return value


class _Stream:
    """A text stream that cleans what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(clean(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Plugin:
    """Cleans the reports of tests before anything is made of them, and the terminal's own lines."""

    def __init__(self, config: pytest.Config) -> None:
        """Make the files that this session writes their owner's alone, before anything is in them."""
        self._config = config
        self._undo: list[Callable[[], object]] = []
        if config.getoption("capture") == "tee-sys":
            raise pytest.UsageError("--capture=tee-sys shows what tests print as it is, secrets too: use -s")
        for path in self._files():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.chmod(0o600)

    def _files(self) -> list[Path]:
        # A worker of pytest-xdist writes none of them.
        if hasattr(self._config, "workerinput"):
            return []
        return [Path(found) for option in REPORTS if (found := self._config.getoption(option, None))]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Stand between the terminal and who writes to it; with -s, tests as well."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            self._filter(reporter._tw, "_file")
        if self._config.getoption("capture") == "no":
            self._filter(sys, "stdout")
            self._filter(sys, "stderr")

    def _filter(self, holder: Any, name: str) -> None:
        stream = getattr(holder, name)
        setattr(holder, name, _Stream(stream))
        self._undo.append(lambda: setattr(holder, name, stream))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Clean what a test ended in."""
        return self._clean((yield))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Clean what went wrong before any test."""
        return self._clean((yield))

    def _clean[Report: (pytest.TestReport, pytest.CollectReport)](self, report: Report) -> Report:
        hook = self._config.hook
        plain = cleaned(hook.pytest_report_to_serializable(config=self._config, report=report))
        made = hook.pytest_report_from_serializable(config=self._config, data=plain)
        for part in ("longrepr", "sections", "user_properties", "wasxfail"):
            if hasattr(report, part):
                setattr(report, part, getattr(made, part))
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Clean what went into files by other ways, such as the properties of the whole session."""
        for undo in reversed(self._undo):
            undo()
        for path in self._files():
            if path.is_file():
                text = path.read_text(encoding="utf-8", errors="replace")
                if (kept := clean(text)) != text:
                    path.write_text(kept, encoding="utf-8")
