"""The benchmarks run and print their figures; their speed is not tested."""

import json
import re

import numpy as np
import pytest

from fer_lightning.bench.loader import PLAINLY, loading_speeds
from fer_lightning.bench.scaling import largest_difference
from fer_lightning.cli.bench import BENCHES, main
from fer_lightning.runs.folder import RunFolder
from fer_lightning.tables.scaling_page import FORMAT
from tests.predictions import plain_table

SLOW = ("render", "store", "manifest", "step")


@pytest.mark.parametrize(
    "name", ["fusion", "ecnn", "audio", "decode", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_a_benchmark_prints_its_figures(name, capsys):
    main(["bench", name, "--quick"])
    assert BENCHES[name][1] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("loader", "waiting for data"),
        ("predict", "x real time"),
        ("live", "are answered, after"),
        ("faces", "mean IoU"),
        ("memory", "MiB"),
        ("features", "x as fast"),
    ],
)
def test_a_slow_benchmark_prints_its_figures(name, words, capsys):
    main(["bench", name, "--quick"])
    assert words in capsys.readouterr().out


def test_clips_are_loaded_each_way_in_one_run():
    speeds = loading_speeds(clips=1, repeats=1)
    assert list(speeds) == [PLAINLY, "the store, transformed by the workers", "the store, transformed by the device"]
    assert all(0 < speed < np.inf for speed in speeds.values())


@pytest.mark.slow
def test_scaling_trains_on_two_processes_and_predicts_the_same(capfd, tmp_path):
    main(["bench", "scaling", "--quick", "--out", str(tmp_path / "scaling.json")])
    measured = json.loads((tmp_path / "scaling.json").read_text())
    assert measured["format"] == FORMAT
    assert [(row["scaling"], row["processes"], row["clips"]) for row in measured["rows"]] == [
        ("strong", 1, 4),
        ("strong", 2, 4),
        ("weak", 1, 2),
        ("weak", 2, 4),
    ]
    rows = [re.split(r"\s*│\s*", line.strip("│ \n")) for line in capfd.readouterr().out.splitlines() if "MiB" in line]
    assert [row[:3] for row in rows] == [
        ["strong", "1", "4"],
        ["strong", "2", "4"],
        ["weak", "1", "2"],
        ["weak", "2", "4"],
    ]
    assert rows[0][4] == rows[2][4] == "100%"
    assert all(float(row[3]) > 0 and int(row[6].split()[0]) > 100 for row in rows)
    assert [row[7] for row in rows[::2]] == ["–", "–"]
    assert float(rows[1][7]) < 1e-4


def test_prediction_tables_of_other_clips_are_not_compared(tmp_path):
    label, probabilities = np.array([0, 1, 0]), np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    tables = {"a": probabilities, "b": np.add(probabilities, [[0, 0], [0.02, -0.02], [0, 0]]), "c": probabilities[:2]}
    for name, values in tables.items():
        plain_table(("anger", "fear"), label[: len(values)], values, "test").write(
            RunFolder(tmp_path / name).predictions("test")
        )
    assert largest_difference(tmp_path / "a", tmp_path / "b") == pytest.approx(0.02)
    assert largest_difference(tmp_path / "a", tmp_path / "a") == 0
    with pytest.raises(ValueError, match="a and c: the prediction tables hold 3 and 2 clips"):
        largest_difference(tmp_path / "a", tmp_path / "c")
