"""What must hold for all values: of samplers, manifests, stores, tables of predictions and folds.

hypothesis looks for values that break it: 30 in every run of the tests, and 1,000 in the slow ones.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_modules.datasets.folds import assign_folds
from data_modules.labels import SEVEN
from data_modules.manifest import SPLITS, VideoRecord, read_manifest, write_manifest
from data_modules.sampling import (
    AllFramesSampler,
    ContiguousSampler,
    FrameSampler,
    MiddleFrameSampler,
    RandomSampler,
    SegmentSampler,
    SubvideoSampler,
)
from data_modules.store.clip_file import ClipSummary, FaceFrame
from data_modules.store.clip_store import ClipStore
from data_modules.utils.cells import cell, text_of
from data_modules.utils.paths import safe_relative
from fer_lightning.evaluation.predictions import PredictionTable

all_cases = pytest.mark.parametrize("cases", [30, pytest.param(1000, marks=pytest.mark.slow)])


def hold(cases: int, check: Callable[..., None], *values: st.SearchStrategy) -> None:
    """Checks a property with that many drawn values, the same in every run."""
    kept = settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    kept(given(*values)(check))()


# What UTF-8 can hold, without the byte that no name has
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
names = text.filter(safe_relative)
small = st.integers(1, 40)
samplers = st.one_of(
    st.builds(SubvideoSampler, st.integers(1, 9), st.integers(1, 15), st.just(1), st.sampled_from(["middle", "first"])),
    st.tuples(small, st.integers(1, 4)).map(lambda pair: SegmentSampler(pair[0] * pair[1], 1, pair[1])),
    st.builds(ContiguousSampler, small, st.integers(1, 5)),
    st.builds(RandomSampler, small),
    st.builds(AllFramesSampler, small),
    st.just(MiddleFrameSampler()),
)


@all_cases
def test_samplers_take_frames_that_are_there_in_order(cases):
    def check(sampler: FrameSampler, length: int, seed: int | None) -> None:
        def draw() -> torch.Tensor:
            return sampler(length, None if seed is None else torch.Generator().manual_seed(seed))

        frames = draw()
        assert frames.dtype == torch.int64
        assert frames.min() >= 0
        assert frames.max() < length
        assert torch.equal(frames, draw()), "the same again"
        for clip in frames.reshape(sampler.num_clips, -1):
            assert (clip.diff() >= 0).all()
        count = min(length, sampler.frames) if isinstance(sampler, AllFramesSampler) else sampler.frames
        assert len(frames) == sampler.num_clips * count
        for view in range(sampler.eval_views):
            assert sampler.evaluation_view(length, view).max() < length

    hold(cases, check, samplers, st.integers(1, 3000), st.none() | st.integers(0, 2**31))


records = st.lists(
    st.builds(
        VideoRecord,
        clip_id=names,
        path=names,
        emotion=text,
        subject=text,
        group=text,
        split=st.sampled_from(SPLITS),
        fold=text,
        truth=st.just("") | names,
        quarter_turns=st.integers(0, 3),
    ),
    max_size=6,
    unique_by=lambda record: record.clip_id,
)


@all_cases
def test_a_manifest_is_read_as_it_was_written(cases, tmp_path):
    def check(written: list[VideoRecord]) -> None:
        write_manifest(tmp_path / "manifest.csv", written)
        assert read_manifest(tmp_path / "manifest.csv") == written

    hold(cases, check, records)


@all_cases
def test_a_cell_of_a_table_is_read_as_it_was_written(cases):
    def check(value: str) -> None:
        assert text_of(cell(value)) == value
        assert not cell(value).startswith(("=", "+", "@", "\t", "\r"))

    hold(cases, check, text | st.builds("".join, st.lists(st.sampled_from("'=+@-(|!\t\ra"), max_size=6)))


summaries = st.builds(
    ClipSummary,
    clip_id=names,
    num_frames=st.integers(0, 10**6),
    num_faces=st.integers(0, 10**6),
    fps=st.floats(0, 1000),
    reason=text,
    audio=st.floats(0, 1e5),
    audio_reason=text,
    missing=st.floats(0, 1e5),
    picture_note=text,
)


@all_cases
def test_an_index_is_read_as_it_was_written(cases, tmp_path):
    def check(written: list[ClipSummary]) -> None:
        store = ClipStore(tmp_path)
        store.write_index(written)
        assert list(store.read_index().values()) == written

    hold(cases, check, st.lists(summaries, max_size=4, unique_by=lambda summary: summary.clip_id))


@all_cases
def test_faces_of_a_store_are_read_as_they_were_written(cases, tmp_path):
    def check(indices: list[int], seed: int) -> None:
        random, store = np.random.default_rng(seed), ClipStore(tmp_path)
        boxes = random.normal(0, 100, (len(indices), 4)).astype(np.float32)
        points = random.normal(0, 100, (len(indices), 68, 3)).astype(np.float32)
        shades = random.integers(0, 256, len(indices)).astype(np.uint8)
        faces = [
            FaceFrame(index, np.full((16, 16, 3), shades[i], np.uint8), boxes[i], 0.5, points[i])
            for i, index in enumerate(sorted(indices))
        ]
        summary = store.write(ClipSummary("a", 1000, 0), faces)
        clip = store.open("a")
        assert store.is_whole("a")
        assert (clip.summary, len(clip)) == (summary, len(indices))
        if indices:
            assert clip.frame_index.tolist() == sorted(indices)
            assert np.array_equal(clip.optional("box"), boxes)
            assert np.array_equal(clip.optional("landmarks"), points.astype(clip.optional("landmarks").dtype))
            assert np.abs(clip.crops(range(len(indices))).astype(int) - shades[:, None, None, None]).max() <= 1

    hold(cases, check, st.lists(st.integers(0, 999), max_size=8, unique=True), st.integers(0, 2**31))


@st.composite
def tables(draw: st.DrawFn) -> PredictionTable:
    count = draw(st.integers(1, 6))
    ids = draw(st.lists(names, min_size=count, max_size=count, unique_by=lambda name: np.str_(name)))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    missing = random.random(count) < 0.3
    shares = random.dirichlet(np.ones(7), count)
    shares[missing] = np.nan

    def column(values: st.SearchStrategy) -> list[object]:
        return draw(st.lists(values, min_size=count, max_size=count))

    return PredictionTable(
        SEVEN,
        clip_id=ids,
        subject=column(text),
        group=column(text),
        split=["test"] * count,
        fold=column(st.sampled_from(["1", "2"])),
        seed=column(st.integers(0, 99)),
        emotion=column(st.sampled_from(SEVEN)),
        probabilities=shares,
        coverage=random.random(count),
        reason=["no face" if lost else "" for lost in missing],
    )


@all_cases
def test_predictions_are_read_as_they_were_written(cases, tmp_path):
    def check(table: PredictionTable) -> None:
        table.write(tmp_path / "test.csv")
        found = PredictionTable.read(tmp_path / "test.csv")
        for column in fields(table):
            written, read = getattr(table, column.name), getattr(found, column.name)
            if column.name in ("probabilities", "coverage"):
                assert np.allclose(written, read, atol=1e-6, equal_nan=True)
            else:
                assert list(written) == list(read), column.name

    hold(cases, check, tables())


people = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(SEVEN)), min_size=12, max_size=60)


@all_cases
def test_folds_share_nobody_and_do_not_depend_on_the_order(cases):
    def check(clips: list[tuple[int, str]], folds: int, seed: int) -> None:
        written = [
            VideoRecord(f"{number}", f"{number}.mp4", emotion, subject=f"person {person}")
            for number, (person, emotion) in enumerate(clips)
        ]
        most = max(Counter(emotion for _, emotion in clips).values())
        if min(len({person for person, _ in clips}), most) < folds:
            with pytest.raises(ValueError, match="cannot make"):
                assign_folds(written, folds, "made")
            return
        assigned = assign_folds(written, folds, "made")
        of_person = {record.subject: fold for record, fold in zip(written, assigned, strict=True)}
        assert assigned == [of_person[record.subject] for record in written]
        assert set(assigned) <= set(range(1, folds + 1))
        order = np.random.default_rng(seed).permutation(len(written))
        again = assign_folds([written[place] for place in order], folds, "made")
        assert again == [assigned[place] for place in order]

    hold(cases, check, people, st.integers(2, 5), st.integers(0, 2**31))
