"""Kills commands within their writing, and compares what they leave with what they leave unkilled."""

import os
import random
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from data_modules.utils.files import is_temporary
from tests.faults.forked import run

KILLS = 4
REPLACE = Path.replace
RESULTS = ("predictions/*.csv", "cv/summary.json", "cv/confusion.csv")
"""What runs and their summaries leave, without what holds times."""


def counted_renames(patch: pytest.MonkeyPatch, count: Path, killed_at: int = 0) -> None:
    """Counts in a file how often a written file gets its name; the process is killed before one of these."""
    count.write_text("")

    def replace(path, target):
        if is_temporary(path):
            with count.open("a") as file:
                file.write(f"{Path(target).name}\n")
            if len(count.read_text().splitlines()) == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return REPLACE(path, target)

    patch.setattr(Path, "replace", replace)


def contents(folder: Path, patterns: Sequence[str]) -> dict[Path, bytes]:
    """The files of a folder that match, by their places in it."""
    files = {
        path for pattern in patterns for path in folder.rglob(pattern) if path.is_file() and not is_temporary(path)
    }
    return {path.relative_to(folder): path.read_bytes() for path in sorted(files)}


def refuse_other_results(command: list[str], out: Path, tmp_path: Path, patterns: Sequence[str] = ("*",)) -> None:
    """Kills a command at some of its writes, and compares what is there once it was repeated."""
    count = tmp_path / "count.txt"
    assert run(command, tmp_path)[0] == 0  # makes what lies elsewhere and stays, such as faces for trainings
    shutil.rmtree(out)
    with pytest.MonkeyPatch.context() as patch:
        counted_renames(patch, count)
        status, said = run(command, tmp_path)
        assert status == 0, said
    expected, names = contents(out, patterns), count.read_text().split()
    assert expected
    for killed_at in sorted({len(names), *random.Random(0).sample(range(1, len(names) + 1), KILLS)}):
        shutil.rmtree(out)
        with pytest.MonkeyPatch.context() as patch:
            counted_renames(patch, count, killed_at)
            assert run(command, tmp_path)[0] == -signal.SIGKILL
        status, said = run(command, tmp_path)
        assert status == 0, f"killed before {names[killed_at - 1]}: {said}"
        assert "Traceback" not in said
        assert contents(out, patterns) == expected, f"killed before {names[killed_at - 1]}"
