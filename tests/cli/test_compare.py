import csv
import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from data_modules.labels import SEVEN
from fer_lightning.cli.compare import main
from fer_lightning.evaluation.predictions import PredictionTable


def write_run(path, right, clips=70, fold="1", seed=0):
    """A run's reported split whose first `right` clips are predicted right, the others wrong; a fold has its own."""
    label = np.arange(clips) % 7
    chosen = np.where(np.arange(clips) < right, label, (label + 1) % 7)
    probabilities = np.full((clips, 7), 0.05)
    probabilities[np.arange(clips), chosen] = 0.7
    names = np.array(SEVEN)
    PredictionTable(
        class_names=SEVEN,
        clip_id=np.array([f"c{fold}-{i}" for i in range(clips)]),
        subject=np.array([f"s{fold}-{i // 7}" for i in range(clips)]),
        group=np.full(clips, ""),
        split=np.full(clips, "test"),
        fold=np.full(clips, fold),
        seed=np.full(clips, seed),
        emotion=names[label],
        probabilities=probabilities,
        coverage=np.ones(clips),
        reason=np.full(clips, ""),
    ).write(path / "predictions" / "test.csv")
    return str(path)


def test_two_runs_are_compared_clip_by_clip(tmp_path, capsys):
    main(["compare", write_run(tmp_path / "a", 63), write_run(tmp_path / "b", 42)])
    _, _, head, *rows, last = capsys.readouterr().out.splitlines()
    assert head == f"{tmp_path / 'a'} minus {tmp_path / 'b'}, N = 70 (95 % paired bootstrap over subjects):"
    assert rows[0].startswith("  WAR +0.300 [")
    assert last.startswith(f"right alone: {tmp_path / 'a'} in 21 clips, {tmp_path / 'b'} in 0 (McNemar p = ")
    tables = [PredictionTable.read(tmp_path / name / "predictions" / "test.csv") for name in "ab"]
    options = {"labels": SEVEN, "zero_division": 0}
    expected = (
        ("UAR", recall_score, "macro"),
        ("weighted F1", f1_score, "weighted"),
        ("macro F1", f1_score, "macro"),
    )
    for row, (name, reference, average) in zip(rows[1:4], expected, strict=True):
        ours, theirs = (reference(t.emotion, t.predicted, average=average, **options) for t in tables)
        assert row.startswith(f"  {name} {ours - theirs:+.3f} [")
    deviations = [np.std(recall_score(t.emotion, t.predicted, average=None, **options), ddof=1) for t in tables]
    assert rows[4:] == [f"  StdAcc {deviations[0] - deviations[1]:+.3f} (lower is better)"]


def test_all_folds_of_two_experiments_are_pooled(tmp_path, capsys):
    for name, right in (("a", (63, 35)), ("b", (42, 49))):
        for fold, count in zip("12", right, strict=True):
            write_run(tmp_path / name / f"{fold}-0", count, fold=fold)
    (tmp_path / "a" / "3-0").mkdir()  # not evaluated
    main(["compare", str(tmp_path / "a"), str(tmp_path / "b")])
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "left out" in line] == [
        f"{tmp_path / 'a' / '3-0'} is left out because it is not evaluated yet"
    ]
    assert said[-7] == f"{tmp_path / 'a'} minus {tmp_path / 'b'}, N = 140 (95 % paired bootstrap over subjects):"
    assert said[-6].startswith("  WAR +0.050 [")
    assert f"right alone: {tmp_path / 'a'} in 21 clips, {tmp_path / 'b'} in 14 (" in said[-1]
    write_run(tmp_path / "b" / "1-1", 60)
    main(["compare", str(tmp_path / "a"), str(tmp_path / "b")])
    again = capsys.readouterr().out.splitlines()
    assert f"{tmp_path / 'b' / '1-1'} is left out because other folds of its seed are missing" in again
    assert again[-7:] == said[-7:]


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        main(["compare", write_run(tmp_path / "a", 63), str(tmp_path / "nothing")])


def test_other_clips_are_refused(tmp_path):
    with pytest.raises(ValueError, match="clips"):
        main(["compare", write_run(tmp_path / "a", 63), write_run(tmp_path / "b", 42, clips=63)])


def test_several_runs_are_compared_with_the_first_and_their_number_is_allowed_for(tmp_path, capsys):
    runs = [write_run(tmp_path / name, right) for name, right in (("a", 63), ("b", 42), ("c", 56), ("d", 63))]
    main(["compare", *runs])
    said = capsys.readouterr().out.splitlines()
    a = tmp_path / "a"
    assert [line for line in said if " minus " in line] == [
        f"{a} minus {tmp_path / name}, N = 70 (95 % paired bootstrap over subjects):" for name in "bcd"
    ]
    # Three people's seven clips, then one person's: all signs alike are 2 of 8 cases; one person tells nothing.
    assert [line.rpartition("(")[2] for line in said if line.startswith("right alone")] == [
        f"McNemar p = {p} over subjects)" for p in ("0.25", "1", "1")
    ]
    assert said[-4:] == [
        "McNemar p, adjusted for 3 comparisons (Holm):",
        *(f"  {a} and {tmp_path / name}: {p}" for name, p in (("b", "0.75"), ("c", "1"), ("d", "1"))),
    ]


def test_trainings_are_compared_seed_by_seed(tmp_path, capsys):
    """By hand: seed 0 is 21 of 70 clips better, seed 1 is 7 better; seed 2 has no partner."""
    for seed, (a, b) in enumerate(((63, 42), (56, 49))):
        write_run(tmp_path / "a" / f"1-{seed}", a, seed=seed)
        write_run(tmp_path / "b" / f"1-{seed}", b, seed=seed)
    write_run(tmp_path / "a" / "1-2", 70, seed=2)
    out = tmp_path / "found.csv"
    main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)])
    said = capsys.readouterr().out.splitlines()
    (head,) = (line for line in said if " minus " in line)
    assert head.endswith("minus " + f"{tmp_path / 'b'}, seeds 0, 1 (95 % bootstrap over subjects and seeds):")
    (war,) = (line for line in said if line.startswith("  WAR "))
    assert war.startswith("  WAR +0.200 [")
    assert war.endswith("; each seed: +0.300, +0.100")
    rows = list(csv.DictReader(out.open()))
    assert float(rows[0]["difference"]) == pytest.approx(0.2)
    assert (rows[0]["metric"], rows[0]["seeds"], rows[0]["unit"]) == ("war", "2", "subject")
    assert {"war", "uar"} <= {row["metric"] for row in rows}


def test_the_differences_are_written_for_other_programs(tmp_path, capsys):
    runs = [write_run(tmp_path / "a", 63), write_run(tmp_path / "b_1", 42)]
    for suffix in ("csv", "json", "tex"):
        main(["compare", *runs, "--out", str(tmp_path / f"found.{suffix}")])
        assert capsys.readouterr().out.splitlines()[-1] == f"written: {tmp_path / f'found.{suffix}'}"
    table = list(csv.DictReader((tmp_path / "found.csv").open()))
    content = json.loads((tmp_path / "found.json").read_text())
    assert [row["metric"] for row in table] == [row["metric"] for row in content]
    assert content[0]["difference"] == pytest.approx(0.3)
    assert content[0]["low"] <= content[0]["difference"] <= content[0]["high"]
    assert content[0]["p_value"] == pytest.approx(float(table[0]["p_value"]))
    assert content[1]["p_value"] is None
    assert table[1]["p_value"] == ""
    latex = (tmp_path / "found.tex").read_text()
    assert "WAR & +0.300 & [" in latex
    assert r"b\_1" in latex
    with pytest.raises(ValueError, match=r"found\.xls: expected"):
        main(["compare", *runs, "--out", str(tmp_path / "found.xls")])
