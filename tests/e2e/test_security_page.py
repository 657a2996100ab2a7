"""docs/security.md names the test that shows each promise: it must be there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from harness.process import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
# `file: test, test`, which may go on in the next line.
NAMED = re.findall(r"([a-z0-9_/]+):\s+((?:test_[a-z0-9_]+(?:,\s+)?)+)", PAGE)
IN_RUST = re.findall(r"(src/[a-z0-9_/]+):\s+((?:[a-z0-9]+(?:_[a-z0-9]+)+(?:,\s+)?)+)", PAGE)


def python_file(name: str) -> Path:
    """Where tests of this name are."""
    folder, _, file = name.rpartition("/")
    return ROOT / (folder or "tests/e2e") / ("tests" if folder else "") / f"test_{file}.py"


def rust_files(name: str) -> list[Path]:
    """A module is a file or a folder."""
    file = ROOT / f"{name}.rs"
    return [file] if file.exists() else list((ROOT / name).glob("*.rs"))


@pytest.mark.parametrize(("file", "tests"), NAMED)
def test_a_test_that_is_named_exists(file, tests):
    text = python_file(file).read_text()
    for test in re.findall(r"\w+", tests):
        assert f"def {test}(" in text


@pytest.mark.parametrize(("module", "tests"), IN_RUST)
def test_a_unit_test_that_is_named_exists(module, tests):
    text = "".join(file.read_text() for file in rust_files(module))
    for test in re.findall(r"\w+", tests):
        assert f"fn {test}(" in text


def test_no_test_is_named_without_its_file():
    named = {test for _, tests in NAMED for test in re.findall(r"\w+", tests)}
    assert set(re.findall(r"\btest_\w+", PAGE)) == named
    assert len(NAMED) > 30
    assert len(IN_RUST) > 8
