"""docs/faults.md and the tests of faults agree: every row names tests that exist, and every test has a row."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "faults.md"
COLUMNS = ["fault", "what is said", "what is kept", "what goes on", "test"]
TEST = re.compile(r"`(tests/[\w/]+\.py::\w+(?:\[[^`]+\])?)`")


class Collected:
    """A plugin that keeps the names of the tests that pytest finds."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.names = {item.nodeid for item in session.items}


def table_rows() -> list[list[str]]:
    """The cells of all rows below the headings of the tables."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if row != COLUMNS and set(row[0]) - set("-: ")]


def stands_for(named: str, test: str) -> bool:
    """Whether a name stands for a test: its own, or that of a function for all of its parameters."""
    return test == named or test.startswith(f"{named}[")


@pytest.fixture(scope="module")
def named() -> set[str]:
    return {name for row in table_rows() for name in TEST.findall(row[-1])}


@pytest.fixture(scope="module")
def collected(named) -> set[str]:
    plugin = Collected()
    files = sorted({name.partition("::")[0] for name in named if (ROOT / name.partition("::")[0]).is_file()})
    options = ["--collect-only", "-p", "no:cacheprovider", "-m", "slow or not slow"]
    pytest.main([f"--rootdir={ROOT}", *options, *(str(ROOT / name) for name in ["tests/faults", *files])], [plugin])
    return plugin.names


def test_every_row_says_all_and_names_a_test():
    rows = table_rows()
    assert rows
    for row in rows:
        assert len(row) == len(COLUMNS), row
        assert all(row), row
        assert TEST.findall(row[-1]), row


def test_the_tests_of_every_row_exist(named, collected):
    missing = [name for name in named if not any(stands_for(name, test) for test in collected)]
    assert not missing, f"named in {DOCUMENT}, but no tests: {missing}"


def test_every_test_of_a_fault_has_a_row(named, collected):
    faults = {test for test in collected if test.startswith("tests/faults/") and "/test_document.py" not in test}
    without = sorted(test for test in faults if not any(stands_for(name, test) for name in named))
    assert not without, f"without a row in {DOCUMENT}: {without}"
