import csv
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from fer_lightning.predictions import ClipOutputs, PredictionTable

NAMES = ("anger", "happiness", "neutral")


def a_table(**changes: object) -> PredictionTable:
    columns: dict[str, object] = {
        "class_names": NAMES,
        "clip_id": ["a/1", 'b, "quoted"', "c"],
        "subject": ["s1", "", "s2"],
        "split": ["test"] * 3,
        "fold": ["1"] * 3,
        "seed": [0] * 3,
        "emotion": ["anger", "neutral", "happiness"],
        "probabilities": [[0.7, 0.2, 0.1], [np.nan] * 3, [1 / 3, 2 / 3, 0.0]],
        "coverage": [1.0, 0.0, 0.125],
        "reason": ["", "no face\nin any frame", ""],
    }
    return PredictionTable(**(columns | changes))  # type: ignore[arg-type]


def columns(table: PredictionTable) -> dict[str, object]:
    return {name: getattr(table, name).tolist() for name in ("clip_id", "subject", "seed", "emotion", "reason")}


def test_predicted_names_and_none() -> None:
    table = a_table()
    assert table.predicted.tolist() == ["anger", "none", "happiness"]
    assert table.correct.tolist() == [True, False, True]
    assert table.choice.tolist() == [0, 3, 1]


def test_a_table_comes_back_unchanged(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    p = generator.dirichlet([0.05] * 3, size=3)  # very small probabilities too
    p[1] = np.nan
    table = a_table(probabilities=p)
    path = tmp_path / "predictions" / "test.csv"
    table.write(path)
    back = PredictionTable.read(path)
    np.testing.assert_array_equal(back.probabilities, p)
    np.testing.assert_array_equal(back.coverage, table.coverage)
    assert columns(back) == columns(table)
    assert back.class_names == NAMES
    assert [f.name for f in path.parent.iterdir()] == ["test.csv"], "no temporary file stays behind"
    with path.open(newline="") as file:
        assert next(csv.reader(file)) == [
            "clip_id", "subject", "split", "fold", "seed", "emotion", "predicted",
            "p_anger", "p_happiness", "p_neutral", "coverage", "reason",
        ]  # fmt: skip


def test_an_empty_table_comes_back(tmp_path: Path) -> None:
    table = a_table().select(np.zeros(3, dtype=bool))
    table.write(tmp_path / "t.csv")
    assert len(PredictionTable.read(tmp_path / "t.csv")) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_id": ["c", "x", "c"]}, "row 3, clip 'c': stands in row 1 already"),
        ({"emotion": ["anger", "joy", "anger"]}, "emotion 'joy' is not among anger"),
        ({"probabilities": [[0.7, 0.2, 0.0]] * 3}, "neither a distribution"),
        ({"probabilities": [[1.2, -0.2, 0.0]] * 3}, "neither a distribution"),
        ({"probabilities": [[0.5, np.nan, 0.5]] * 3}, "neither a distribution"),
        ({"probabilities": [[0.5, 0.5]] * 3}, "'probabilities' has the shape"),
        ({"reason": ["", "", ""]}, "row 2, .*neither a prediction nor a reason"),
        ({"coverage": [1.0, np.nan, 1.0]}, "row 2.*coverage"),
        ({"subject": ["s"]}, "'subject' has the shape"),
        ({"clip_id": ["a", "../b", "c"]}, "stays inside"),
        ({"class_names": ("anger", "happiness", "none")}, "none of them 'none'"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a_table(**changes)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("coverage", "cover", 1, "columns"),
        ("p_anger,p_happiness", "p_happiness,p_anger", 2, "predicted 'anger'"),
        ("anger,anger,0.7", "anger,anger,0.9", 2, "distribution"),
        ("anger,anger,0.7", "anger,anger,zero", 2, "zero"),
        ("anger,anger,0.7", "anger,neutral,0.7", 2, "predicted 'neutral'"),
        ("c,s2", "a/1,s2", 5, "stands in row 1 already"),  # the second row has two lines
        (",0.125,", ",0.125,,", 5, "13 cells, expected 12"),
        ("c,s2,test,1,0", "c,s2,test,1,zero", 5, "zero"),
        ("c,s2", '"c,s2', 5, "unexpected end of data"),
    ],
)
def test_a_damaged_file_is_refused_by_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    path = tmp_path / "t.csv"
    a_table().write(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message) as error:
        PredictionTable.read(path)
    assert str(error.value).startswith(f"{path}, line {line}:")


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"\xff\xfe\x00", b"clip_id,emotion\n1,2\n"):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(ValueError, match=r"t\.csv, line 1"):
            PredictionTable.read(tmp_path / "t.csv")
    with pytest.raises(FileNotFoundError, match="evaluate the run first"):
        PredictionTable.read(tmp_path / "other.csv")


def test_pooling_folds_and_seeds() -> None:
    first = a_table()
    pooled = PredictionTable.concat([first, a_table(seed=[1] * 3)])
    assert len(pooled) == 6
    assert pooled.predicted.tolist() == [*first.predicted, *first.predicted]
    with pytest.raises(ValueError, match="stands in row 1 already"):
        PredictionTable.concat([first, a_table(fold=["2"] * 3)])
    with pytest.raises(ValueError, match="different classes"):
        PredictionTable.concat([first, a_table(class_names=("anger", "happiness", "neutral2"), emotion=["anger"] * 3)])
    with pytest.raises(ValueError, match="no prediction tables"):
        PredictionTable.concat([])


def some_outputs(**changes: object) -> ClipOutputs:
    generator = np.random.default_rng(0)
    values: dict[str, object] = {
        "clip_id": ("a", "b"),
        "feature": generator.normal(size=(2, 5)).astype(np.float32),
        "frame_index": np.arange(12).reshape(2, 6),
        "attention": generator.random((2, 3)).astype(np.float32),
        "intensity": None,
    }
    return ClipOutputs(**(values | changes))  # type: ignore[arg-type]


def test_outputs_come_back_unchanged(tmp_path: Path) -> None:
    outputs = some_outputs()
    outputs.write(tmp_path / "test.safetensors")
    back = ClipOutputs.read(tmp_path / "test.safetensors")
    assert back.clip_id == ("a", "b")
    assert back.intensity is None
    assert back.attention is not None
    assert outputs.attention is not None
    np.testing.assert_array_equal(back.attention, outputs.attention)
    np.testing.assert_array_equal(back.feature, outputs.feature)
    np.testing.assert_array_equal(back.frame_index, outputs.frame_index)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_id": ("a", "a")}, "unique relative paths"),
        ({"clip_id": ("a", "/etc/b")}, "unique relative paths"),
        ({"clip_id": ("a",)}, "feature has the shape"),
        ({"attention": np.ones((2, 4), np.float32)}, "4 groups; 6 sampled frames"),
        ({"attention": np.ones((2, 0), np.float32)}, "0 groups"),
        ({"attention": np.ones((2, 12), np.float32)}, "12 groups"),
        ({"intensity": np.ones((2, 5), np.float32)}, "intensity of 5 frames"),
        ({"frame_index": np.arange(6)}, "two dimensions"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        some_outputs(**changes)


def test_foreign_outputs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(ValueError, match="not the outputs of a run"):
        ClipOutputs.read(path)
    save_file({"weight": np.ones(3)}, path)
    with pytest.raises(ValueError, match="format None"):
        ClipOutputs.read(path)
    save_file({"weight": np.ones(3)}, path, {"format": "fer_lightning outputs 1", "clip_id": "[]"})
    with pytest.raises(ValueError, match="not the outputs of a run"):
        ClipOutputs.read(path)
