"""What choosing the epoch on the reported split adds: by hand, and where only chance makes epochs differ."""

import csv
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.experiments.inflation import WatchedTraining, inflation_of, mean_interval, measure_inflation


def training(correct, reported, clips=2):
    correct = np.array(correct)
    return WatchedTraining("x", correct, np.full(correct.shape[1], clips), np.array(reported))


BY_HAND = training([[1, 0], [2, 1], [1, 2]], [0, 0, 2])
"""Two people of two clips: accuracies of 1/4, 3/4 and 3/4 after three epochs."""


def test_inflation_by_hand():
    assert inflation_of(BY_HAND, [1, 2, 3], 2).tolist() == [0, 0.5, 0]
    # The first person alone: 1/2, 1, 1/2; the second: 0, 1/2, 1. In the end, the best is 1/2 above the last for one.
    assert inflation_of(BY_HAND, [1, 2, 3], 1) == pytest.approx([0, 0.5, 0.25], abs=0.05)


def test_chance_alone_inflates_by_the_expected_maximum_of_normal_values():
    """0.5642 and 1.5388 standard deviations for the best of 2 and 10; half of it for four times as many clips."""
    rng = np.random.default_rng(0)
    trainings = [training(rng.binomial(5, 0.5, (10, 400)), range(10), clips=5) for _ in range(40)]
    rows = {(row.epochs, row.people): row for row in measure_inflation(trainings, [2, 10], [25, 100])}
    for (epochs, people), row in rows.items():
        expected = {2: 0.5642, 10: 1.5388}[epochs] * np.sqrt(0.25 / (5 * people))
        assert row.value == pytest.approx(expected, rel=0.1)
        assert row.interval.low < expected < row.interval.high
        assert (row.trainings, row.clips) == (40, 5 * people)


def test_the_interval_of_a_mean_by_hand():
    interval = mean_interval(np.array([0.1, 0.2, 0.3]))  # 4.3027 is the quantile of t with two degrees of freedom
    margin = 4.3027 * 0.1 / 3**0.5
    assert (interval.low, interval.high) == pytest.approx((0.2 - margin, 0.2 + margin), abs=1e-5)
    assert not mean_interval(np.array([0.1])).is_known


@pytest.mark.parametrize(("epochs", "people"), [([4], 2), ([0], 2), ([3], 3), ([3], 0)])
def test_more_than_there_is_is_refused(epochs, people):
    with pytest.raises(ValueError, match=r"3 epochs and 2 people in the reported split; expected numbers up to these"):
        inflation_of(BY_HAND, epochs, people)


def test_the_published_table_is_that_of_the_measured_values():
    """In percentage points, a line for each system and number of people."""
    folder = Path(__file__).parents[2] / "results"
    with (folder / "inflation.csv").open(newline="") as file:
        measured = list(csv.DictReader(file))
    lines = {}
    for row in measured:
        points = [100 * float(row[name]) for name in ("inflation", "low", "high")]
        name = f"| `{row['experiment']}` | {row['trainings']} | {row['people']} | {row['clips']} |"
        lines[name] = lines.get(name, name) + " {:+.1f} [{:+.1f}, {:+.1f}] |".format(*points)
    text = (folder / "inflation.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("| `")] == list(lines.values())
    assert len(measured) > len(lines) > 1
