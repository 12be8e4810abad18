import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from data_modules.loading.clip_dataset import Clip
from data_modules.manifest import VideoRecord
from data_modules.store.clip_store import ClipSummary
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.collect import clip_outputs, prediction_table
from fer_lightning.evaluation.outputs import ClassifierOutput, ClipPredictions, StreamScores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.predict.face_export import VIDEOS, video_records
from fer_lightning.training.classifier import VideoClassifier

NAMES = ("anger", "happiness", "neutral")


def a_table(**changes: object) -> PredictionTable:
    columns: dict[str, object] = {
        "class_names": NAMES,
        "clip_id": ["a/1", 'b, "quoted"', "c"],
        "subject": ["s1", "", "s2"],
        "group": ["", "film", ""],
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
    return {
        name: getattr(table, name).tolist() for name in ("clip_id", "subject", "group", "seed", "emotion", "reason")
    }


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
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["test.csv", "test.csv.rows"], "no temporary file stays behind"
    with path.open(newline="") as file:
        assert next(csv.reader(file)) == [
            "clip_id", "subject", "group", "split", "fold", "seed", "emotion", "predicted",
            "p_anger", "p_happiness", "p_neutral", "coverage", "reason",
        ]  # fmt: skip


def test_text_that_a_spreadsheet_would_compute_stays_text(tmp_path: Path) -> None:
    ids = ["=1+1", "-2+3+cmd|' /C calc'!A0", "'@SUM(A1)"]
    a_table(clip_id=ids, subject=["+1", "-a1b2", "'quoted'"], group=["\tx", "-3", "plain"]).write(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == ["'=1+1", "'-2+3+cmd|' /C calc'!A0", "''@SUM(A1)"]
    assert [row[1] for row in rows] == ["'+1", "-a1b2", "'quoted'"]
    assert [row[2] for row in rows] == ["'\tx", "-3", "plain"]
    back = PredictionTable.read(tmp_path / "t.csv")
    assert back.clip_id.tolist() == ids
    assert back.subject.tolist() == ["+1", "-a1b2", "'quoted'"]
    assert back.group.tolist() == ["\tx", "-3", "plain"]


def test_an_empty_table_comes_back(tmp_path: Path) -> None:
    table = a_table().select(np.zeros(3, dtype=bool))
    table.write(tmp_path / "t.csv")
    assert len(PredictionTable.read(tmp_path / "t.csv")) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_id": ["c", "x", "c"]}, "row 3, clip 'c': is already in row 1"),
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
        ("c,s2", "a/1,s2", 5, "is already in row 1"),  # the second row has two lines
        (",0.125,", ",0.125,,", 5, "14 cells, expected 13"),
        ("c,s2,,test,1,0", "c,s2,,test,1,zero", 5, "zero"),
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


def test_a_table_cut_at_a_rows_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    a_table().write(path)
    assert (tmp_path / "t.csv.rows").read_text() == "3\n"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"t\.csv has 2 rows, expected '3'.*delete .*t\.csv\.rows"):
        PredictionTable.read(path)
    (tmp_path / "t.csv.rows").unlink()  # as of a table of before, or one that was cut on purpose
    assert len(PredictionTable.read(path)) == 2
    a_table().select(np.array([0])).write(path)
    assert len(PredictionTable.read(path)) == 1


def test_a_kill_before_a_tables_number_of_rows_leaves_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    a_table().write(path)

    def killed(self: Path, target: Path) -> Path:
        if target.suffix == ".rows":
            raise KeyboardInterrupt
        return replace_path(self, target)

    replace_path = Path.replace
    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        a_table().select(np.array([0])).write(path)
    assert len(PredictionTable.read(path)) == 1


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
    with pytest.raises(ValueError, match="is already in row 1"):
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


def some_streams(clips: int = 2) -> np.ndarray:
    """(N, 2, 3) probabilities; the first clip is without the second stream."""
    streams = np.random.default_rng(2).dirichlet(np.ones(3), size=(clips, 2)).astype(np.float32)
    streams[0, 1] = np.nan
    return streams


def test_relations_and_streams_come_back_and_stay_small(tmp_path: Path) -> None:
    relation = np.random.default_rng(1).uniform(-1, 1, (2, 6, 6)).astype(np.float32)
    frame_source = np.array([[0, 1, 5, 3, 4, 5], [0, 1, 2, 3, 4, 5]])
    streams = some_streams()
    outputs = some_outputs(
        relation=relation, frame_source=frame_source, streams=streams, stream_names=("video", 'é"\n')
    )
    path = tmp_path / "test.safetensors"
    outputs.write(path)
    back = ClipOutputs.read(path)
    assert back.relation is not None
    assert back.frame_source is not None
    assert back.streams is not None
    np.testing.assert_allclose(back.relation, relation, atol=5e-4)
    assert back.relation.dtype == np.float16
    np.testing.assert_array_equal(back.frame_source, frame_source)
    np.testing.assert_array_equal(back.streams, streams)
    assert back.stream_names == ("video", 'é"\n')
    back.write(path)
    again = ClipOutputs.read(path)
    assert again.relation is not None
    np.testing.assert_array_equal(again.relation, back.relation, "what was read is written as it is")


def test_frame_sources_have_the_files_old_name(tmp_path: Path) -> None:
    path = tmp_path / "test.safetensors"
    tensors = {
        "feature": np.ones((1, 2), np.float32),
        "frame_index": np.arange(3)[None],
        "standing": np.array([[0, 2, 2]], np.int32),
    }
    save_file(tensors, path, {"format": "fer_lightning outputs 1", "clip_id": '["a"]'})
    back = ClipOutputs.read(path)
    assert back.frame_source is not None
    assert back.frame_source.tolist() == [[0, 2, 2]]
    back.write(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(load_file(tmp_path / "again.safetensors")["standing"], [[0, 2, 2]])


def test_files_without_relations_and_streams_are_read(tmp_path: Path) -> None:
    path = tmp_path / "test.safetensors"
    tensors = {"feature": np.ones((1, 2), np.float32), "frame_index": np.arange(3)[None]}
    save_file(tensors, path, {"format": "fer_lightning outputs 1", "clip_id": '["a"]'})
    back = ClipOutputs.read(path)
    assert (back.relation, back.frame_source, back.streams, back.stream_names) == (None, None, None, ())


def test_a_streams_table_has_its_own_predictions() -> None:
    table = a_table()  # the second clip has no prediction, and no row in the outputs
    streams = some_streams()
    outputs = some_outputs(clip_id=("c", "a/1"), streams=streams, stream_names=("video", "landmarks"))
    video, landmarks = (outputs.stream_table(name, table) for name in outputs.stream_names)
    for found in (video, landmarks):
        assert found.clip_id.tolist() == table.clip_id.tolist()
        assert found.emotion.tolist() == table.emotion.tolist()
        assert found.subject.tolist() == table.subject.tolist()
    np.testing.assert_array_equal(video.probabilities[[2, 0]], streams[:, 0].astype(np.float64))
    np.testing.assert_array_equal(landmarks.probabilities[0], streams[1, 1].astype(np.float64))
    assert video.reason.tolist() == ["", "no face\nin any frame", ""]
    assert landmarks.reason.tolist() == ["", "no face\nin any frame", "no landmarks"]
    assert not landmarks.correct[2]
    with pytest.raises(ValueError, match="no stream 'audio'; found video, landmarks"):
        outputs.stream_table("audio", table)
    with pytest.raises(ValueError, match="no stream 'video'; found none"):
        some_outputs().stream_table("video", table)
    other = a_table(class_names=("anger", "happiness"), emotion=["anger"] * 3, probabilities=[[0.5, 0.5]] * 3)
    with pytest.raises(ValueError, match="streams of 3 classes; the table has 2"):
        outputs.stream_table("video", other)


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
        ({"relation": np.ones((2, 6), np.float32)}, "three dimensions"),
        ({"relation": np.ones((3, 6, 6), np.float32)}, r"\(2, ...\) with three"),
        ({"relation": np.ones((2, 6, 5), np.float32)}, r"relation of \(6, 5\) frames, expected \(6, 6\)"),
        ({"frame_source": np.zeros((2, 5), np.int64)}, "frame_source has 5 positions, expected 6"),
        ({"frame_source": np.full((2, 6), 6)}, "from 0 to 5"),
        ({"frame_source": np.full((2, 6), -1)}, "from 0 to 5"),
        ({"frame_source": np.zeros((2, 6), np.float32)}, "whole numbers"),
        ({"streams": some_streams()}, "2 streams with the names"),
        ({"streams": some_streams(), "stream_names": ("video",)}, "2 streams with the names"),
        ({"streams": some_streams(), "stream_names": ("video", "video")}, "different name"),
        ({"stream_names": ("video",)}, "0 streams with the names"),
        ({"streams": some_streams()[:, 0], "stream_names": ("video", "x")}, "three dimensions"),
        ({"streams": 2 * some_streams(), "stream_names": ("video", "x")}, "neither a distribution"),
        ({"streams": np.array([[[1.0, np.nan, 0.0]]] * 2), "stream_names": ("video",)}, "neither a distribution"),
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
    for tensors in ({"weight": np.ones(3)}, {"stream_names": np.ones(3)}, {"relation": np.ones(())}):
        save_file(tensors, path, {"format": "fer_lightning outputs 1", "clip_id": "[]"})
        with pytest.raises(ValueError, match="not the outputs of a run"):
            ClipOutputs.read(path)
    named = {"feature": np.ones((0, 2)), "frame_index": np.ones((0, 2))}
    for streams in ("3", "{", "[1, 2]"):
        save_file(named, path, {"format": "fer_lightning outputs 1", "clip_id": "[]", "streams": streams})
        with pytest.raises(ValueError, match="not the outputs of a run"):
            ClipOutputs.read(path)


class Streams(VideoClassifier):
    """Says what it is told to."""

    def __init__(self, output: ClassifierOutput) -> None:
        super().__init__(SEVEN)
        self.output = output

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        return self.output


def test_draws_of_a_clip_from_the_model_to_the_file(tmp_path: Path) -> None:
    """Relation and frame source are the first draw's; streams are averaged over the draws in which there are any."""
    draws = torch.Generator().manual_seed(0)
    logits, video, landmarks = (torch.randn(5, 7, generator=draws) for _ in range(3))
    landmarks[1] = torch.nan  # one draw of the first clip
    landmarks[2:4] = torch.nan  # all of the second
    relation = torch.rand(5, 3, 3, generator=draws)
    frame_source = torch.randint(3, (5, 3), generator=draws)
    streams = (StreamScores("video", video), StreamScores("landmarks", landmarks))
    output = ClassifierOutput(logits, logits, relation=relation, frame_source=frame_source, streams=streams)
    batch = ClipBatch(
        clip_id=("a", "a", "b", "b", "c"),
        label=torch.zeros(5, dtype=torch.long),
        mask=torch.ones(5, 3, dtype=torch.bool),
        frame_index=torch.arange(3).expand(5, 3),
    )
    part, _ = Streams(output).predict_clips(batch)
    faces = {"c": 3, "a": 3, "x": 0, "b": 3}
    clips = [
        Clip(VideoRecord(name, name, "anger"), ClipSummary(name, 3, count), 0, usable=count > 0)
        for name, count in faces.items()
    ]
    clip_outputs(clips, [part.to("cpu")]).write(tmp_path / "test.safetensors")
    back = ClipOutputs.read(tmp_path / "test.safetensors")
    assert back.clip_id == ("c", "a", "b"), "in the manifest's order"
    assert back.relation is not None
    assert back.frame_source is not None
    assert back.streams is not None
    np.testing.assert_allclose(back.relation, relation[[4, 0, 2]], atol=5e-4)
    np.testing.assert_array_equal(back.frame_source, frame_source[[4, 0, 2]])
    p, q = softmax(video.numpy(), axis=1), softmax(landmarks.numpy(), axis=1)
    expected = [[p[4], q[4]], [(p[0] + p[1]) / 2, q[0]], [(p[2] + p[3]) / 2, np.full(7, np.nan)]]
    np.testing.assert_allclose(back.streams, expected, atol=1e-6)
    assert back.stream_names == ("video", "landmarks")
    table = prediction_table(clips, [part], SEVEN, 0)
    assert back.stream_table("landmarks", table).missing.tolist() == [False, False, True, True]


def test_clips_of_batches_of_other_lengths_share_a_table() -> None:
    def part(name: str, frames: int) -> ClipPredictions:
        return ClipPredictions(
            (name,),
            torch.full((1, 7), 1 / 7),
            torch.ones(1, 2),
            torch.arange(frames)[None] * 3,
            attention=torch.full((1, frames), 1 / frames),
            intensity=torch.full((1, frames), 0.5),
            relation=torch.full((1, frames, frames), 0.25),
            frame_source=torch.arange(frames).flip(0)[None],
        )

    clips = [Clip(VideoRecord(name, name, "anger"), ClipSummary(name, 9, 9), 0, usable=True) for name in "ab"]
    found = clip_outputs(clips, [part("b", 4), part("a", 2)])
    assert found.clip_id == ("a", "b")
    assert found.frame_index.tolist() == [[0, 3, -1, -1], [0, 3, 6, 9]]
    assert found.attention is not None
    assert found.attention.tolist() == [[0.5, 0.5, 0, 0], [0.25] * 4]
    np.testing.assert_array_equal(found.intensity, [[0.5, 0.5, np.nan, np.nan], [0.5] * 4])
    assert found.frame_source is not None
    assert found.frame_source.tolist() == [[1, 0, 2, 3], [3, 2, 1, 0]]
    assert found.relation is not None
    assert found.relation[0].tolist() == [[0.25, 0.25, 0, 0], [0.25, 0.25, 0, 0], [0] * 4, [0] * 4]
    other = replace(part("a", 2), feature=torch.ones(1, 3))
    with pytest.raises(ValueError, match="same shape"):
        clip_outputs(clips, [part("b", 4), other])


def test_names_of_videos_stand_as_text_and_come_back(tmp_path: Path) -> None:
    video, out = tmp_path / "=1+1.mp4", tmp_path / "out"
    (record,) = video_records([video], out)
    with (out / VIDEOS).open(newline="") as file:
        assert list(csv.reader(file)) == [["folder", "video"], ["'=1+1", str(video)]]
    other = tmp_path / "deeper" / "=1+1.mp4"
    assert [each.clip_id for each in video_records([other, video], out)] == ["=1+1-2", record.clip_id]
