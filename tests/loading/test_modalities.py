"""The table of modalities agrees with the batch and the store, and errors name the cause."""

from dataclasses import fields

import pytest
import torch

from data_modules.faces.settings import FaceSettings
from data_modules.loading.batch import (
    AUDIO_INPUTS,
    FACE_INPUTS,
    INPUTS,
    MODALITIES,
    ClipBatch,
    collate,
    modalities_for,
    needed_settings,
)
from data_modules.loading.clip_dataset import check_usable
from data_modules.store.clip_file import ClipSummary

FULL = ClipSummary("full", 9, 5, audio=2.0, num_landmarks=5)
SILENT_CLIP = ClipSummary("seen", 9, 5, audio_reason="its audio track is silent")
FACELESS = ClipSummary("heard", 9, 0, reason="no face found in 9 frames", audio=2.0)
EMPTY = ClipSummary("neither", 9, 0)


def test_every_modality_is_a_field_and_a_column_of_present():
    names = {field.name for field in fields(ClipBatch)}
    assert names >= set(INPUTS)
    assert {modality.column for modality in INPUTS.values()} == set(MODALITIES)
    assert set(INPUTS) == FACE_INPUTS | AUDIO_INPUTS
    assert not FACE_INPUTS & AUDIO_INPUTS
    assert {modality.setting for modality in INPUTS.values()} - {""} <= set(FaceSettings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("clip", "inputs", "missing_audio", "expected"),
    [
        (FULL, {"face"}, "", (True, "")),
        (FULL, {"landmarks"}, "", (True, "")),
        (SILENT_CLIP, {"landmarks"}, "", (False, "no landmarks found")),
        (SILENT_CLIP, {"landmarks", "face"}, "", (True, "")),
        (SILENT_CLIP, {"spectrogram"}, "", (False, "its audio track is silent")),
        (
            FACELESS,
            {"face", "person", "landmarks"},
            "",
            (False, "no face found in 9 frames"),
        ),  # one reason
        (FACELESS, {"face", "descriptor"}, "", (True, "")),
        (FACELESS, {"face", "descriptor"}, "too short", (False, "no face found in 9 frames; too short")),
        (EMPTY, {"spectrogram", "descriptor", "person"}, "", (False, "no face found; no audio track")),
    ],
)
def test_a_clip_is_usable_if_it_has_any_requested_input(clip, inputs, missing_audio, expected):
    assert check_usable(clip, frozenset(inputs), {clip.clip_id: missing_audio} if missing_audio else {}) == expected


def test_unknown_inputs_are_refused_by_name():
    with pytest.raises(ValueError, match=r"unknown inputs faces, voice; expected some of face, person, landmarks"):
        modalities_for({"voice", "face", "faces"})


def test_inputs_name_the_settings_that_they_need():
    assert needed_settings({"face"}) == frozenset()
    assert needed_settings({"face", "person", "landmarks", "descriptor"}) == {"person", "landmarks", "audio"}


def test_fields_with_frames_are_padded_and_others_are_not():
    """By hand: two views of a clip of one frame beside one of a clip of three."""
    short = ClipBatch(
        ("short",) * 2, torch.tensor([4, 4]), torch.ones(2, 1, dtype=torch.bool), torch.tensor([[7], [8]]),
        landmarks=torch.full((2, 1, 68, 3), 2.0), features=torch.ones(2, 1, 3), clip_features=torch.ones(2, 6),
        spectrogram=torch.ones(2, 3, 4, 4), present=torch.tensor([[True, False]] * 2), intensity=torch.ones(2, 1),
        log_mel=torch.ones(2, 4, 5),
    )  # fmt: skip
    long = ClipBatch(
        ("long",), torch.tensor([1]), torch.ones(1, 3, dtype=torch.bool), torch.tensor([[0, 1, 2]]),
        landmarks=torch.full((1, 3, 68, 3), 5.0), features=torch.ones(1, 3, 3), clip_features=torch.zeros(1, 6),
        spectrogram=torch.zeros(1, 3, 4, 4), present=torch.tensor([[True, True]]), face=torch.zeros(1, 3, 3, 2, 2),
        intensity=torch.zeros(1, 3), log_mel=torch.full((1, 2, 5), 7.0),
    )  # fmt: skip
    batch = collate([short, long])
    assert (len(batch), batch.clip_id, batch.label.tolist()) == (3, ("short", "short", "long"), [4, 4, 1])
    assert batch.mask.tolist() == [[True, False, False]] * 2 + [[True] * 3]
    assert batch.frame_index.tolist() == [[7, 0, 0], [8, 0, 0], [0, 1, 2]]
    assert batch.landmarks[:, :, 0, 0].tolist() == [[2, 0, 0], [2, 0, 0], [5, 5, 5]]
    assert batch.features.shape == (3, 3, 3)
    assert batch.clip_features.shape == (3, 6)
    assert batch.spectrogram.shape == (3, 3, 4, 4)
    assert batch.present.tolist() == [[True, False]] * 2 + [[True, True]]
    assert batch.intensity.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert batch.log_mel.shape == (3, 4, 5)  # frames of their own
    assert batch.log_mel[:, :, 0].nan_to_num(nan=-1).tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [7, 7, -1, -1]]
    assert batch.face is None  # one of the clips has none
