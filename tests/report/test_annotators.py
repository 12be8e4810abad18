"""How far annotators agree: the closed form, its intervals, and what a run and a table say of it."""

import re
from collections import Counter

import numpy as np
import pytest

from fer_lightning.cli.main import main
from fer_lightning.evaluation.annotators import agreement, label_share, leave_one_out
from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.metrics import WAR, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.tables.collect import run_result
from tests.fakes import write_dfew, write_dfew_votes
from tests.predictions import plain_table
from tests.small_runs import experiment

NAMES = ("anger", "fear", "neutral")


def by_hand(counts) -> float:
    """Leaves out each annotator in turn and looks for the most frequent of the other votes."""
    votes, agreed = [name for name, number in enumerate(counts) for _ in range(number)], []
    for place, vote in enumerate(votes):
        others = Counter(votes[:place] + votes[place + 1 :])
        most = [name for name, number in others.items() if number == max(others.values())]
        agreed.append(1 / len(most) if vote in most else 0)
    return sum(agreed) / len(agreed)


def test_the_closed_form_is_that_of_leaving_out_each_annotator():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, rng.integers(1, 8, (500, 1)), (500, 6))
    counts = counts[counts.sum(axis=1) >= 2]
    assert len(counts) > 400
    np.testing.assert_allclose(leave_one_out(counts), [by_hand(row) for row in counts.tolist()], rtol=1e-12)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((10, 0, 0), 1),
        ((6, 4, 0), 0.6),
        ((5, 5, 0), 0),  # without one's own vote the other class has the majority
        ((2, 1, 0), 1 / 3),  # a tie of the others counts half for the two, and the third disagrees
        ((1, 1, 1), 0),
        ((2, 1, 1), 1 / 6),  # a tie of three
        ((0, 1, 1), 0),
    ],
)
def test_ties_count_by_their_share(counts, expected):
    assert leave_one_out(np.array([counts]))[0] == pytest.approx(expected)


def test_the_label_has_its_share_of_the_votes():
    assert label_share(np.array([[3, 1, 0], [0, 0, 2]]), np.array([1, 2])).tolist() == [0.25, 1]


def table_and_votes(clips: int = 40) -> tuple[PredictionTable, dict[str, str]]:
    """Predictions that are right just where both annotators agree, and the votes of these."""
    label = np.arange(clips) % 3
    right = np.random.default_rng(0).random(clips) < 0.6
    table = plain_table(NAMES, label, np.eye(3)[np.where(right, label, (label + 1) % 3)], split="test")
    other = [NAMES[(each + 1) % 3] for each in label]
    votes = [
        f"{emotion}=2" if agreed else f"{emotion}=1 {name}=1"
        for emotion, agreed, name in zip(table.emotion.tolist(), right, other, strict=True)
    ]
    return table, dict(zip(table.clip_id.tolist(), votes, strict=True))


def test_intervals_are_those_of_accuracy_over_the_same_people():
    table, votes = table_and_votes()
    found, expected = agreement(table, votes), scores(table)[WAR]
    assert found.annotator == pytest.approx(expected)
    assert found.label == pytest.approx((1 + expected) / 2)
    intervals = bootstrap(table)
    for end in ("low", "high"):
        assert getattr(found.annotator_interval, end) == pytest.approx(getattr(intervals[WAR], end))
        assert getattr(found.label_interval, end) == pytest.approx((1 + getattr(intervals[WAR], end)) / 2)
    assert (found.unit, found.votes, found.other_votes, found.without_votes) == ("subject", 80, 0, 0)


def test_what_is_left_out_is_counted():
    table, votes = table_and_votes()
    clips = table.clip_id.tolist()
    votes[clips[0]] = "anger=1 contempt=9"  # one vote for the classes
    del votes[clips[1]]
    votes[clips[2]] += " contempt=3 unknown=1"
    found, rest = agreement(table, votes), agreement(table.select(np.arange(2, 40)), votes)
    assert found.annotator == rest.annotator
    assert found.table.clip_id.tolist() == clips[2:]
    assert (found.votes, found.other_votes, found.without_votes) == (76, 4, 2)


@pytest.mark.parametrize("votes", [{}, {"test0": ""}, {"test0": "anger=1"}, {"test0": "contempt=10"}])
def test_without_two_votes_for_a_clip_there_is_no_agreement(votes):
    assert agreement(table_and_votes()[0], votes) is None


def section(name: str) -> str:
    html = ExperimentRequest("ceflnet_dfew").run.report.read_text()
    found = re.search(f'<section id="{name}">.*?</section>', html, re.DOTALL)
    return re.sub(r"\s+", " ", found[0]) if found else ""


def test_the_report_and_the_table_of_a_run_say_how_far_annotators_agree(tmp_path):
    """Clips 15 to 21 are reported: sadness, neutral, anger, surprise, disgust, fear, happiness."""
    folder = write_dfew(tmp_path / "data", train=14, test=7)
    votes = [
        (15, 0, 10, 0, 0, 0, 0, 0),
        (16, 4, 0, 6, 0, 0, 0, 0),
        (17, 0, 5, 0, 5, 0, 0, 0),
        (18, 0, 0, 2, 0, 4, 0, 4),
        (19, 0, 0, 0, 0, 0, 1, 0),
        (21, 2, 1, 0, 0, 0, 0, 0),
        (1, 0, 0, 0, 0, 0, 0, 10),  # of a training clip
    ]
    write_dfew_votes(folder, *votes)
    assert main(experiment("--trainer.max_epochs", "1")) == 0
    shown, run = section("annotators"), ExperimentRequest("ceflnet_dfew").run
    table = PredictionTable.read(run.predictions("test"))
    human, label = (1 + 0.6 + 0 + 0 + 1 / 3) / 5, (1 + 0.6 + 0.5 + 0.4 + 2 / 3) / 5
    accuracy = table.correct[[0, 1, 2, 3, 6]].mean()
    for name, value in (("WAR of this run", accuracy), ("a single annotator", human), ("the label", label)):
        assert re.search(rf">{name}</th> ?<td[^>]*>{value:.3f}</td> ?<td[^>]*>\[", shown), name
    assert "The same 5 clips with 43 votes in each row" in shown
    assert "over clips" in shown
    assert "Left out: 2 clips with fewer than two votes" in shown
    result = run_result(ExperimentRequest("ceflnet_dfew"), ExperimentRequest("ceflnet_dfew").run, table)
    assert result.outputs["human"] == pytest.approx(human)

    run.clips.write_text(re.sub(r"[a-z]+=[a-z0-9= ]+", "", run.clips.read_text()))
    run.report.unlink()
    assert main(["report", str(run.path)]) == 0
    assert (section("annotators"), section("confusion") != "") == ("", True)
    assert (
        "human"
        not in run_result(ExperimentRequest("ceflnet_dfew"), ExperimentRequest("ceflnet_dfew").run, table).outputs
    )
