"""The settings with which the faces of a video are extracted for one model, or for several that share them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from data_modules.faces.settings import FaceSettings
from data_modules.loading.batch import FACE_INPUTS, needed_settings
from data_modules.video.audio_track import is_audio_file
from fer_lightning.predict.request import Detector, RecognitionOptions
from fer_lightning.training.loading import TrainedModel

OPTIONAL = ("landmarks", "person")  # settings of what not every model needs


@dataclass(frozen=True)
class FaceNeeds:
    """What models need of the faces of videos; it can be known before their weights are loaded.

    Args:
        settings: how faces are extracted.
        everybody: whether the faces of all people are extracted: for models that see faces, if asked for.
    """

    settings: FaceSettings
    everybody: bool

    @classmethod
    def of(cls, models: Sequence[TrainedModel], options: RecognitionOptions) -> "FaceNeeds":
        """Returns what one or more models need.

        Raises:
            ValueError: they were trained on faces with different settings; the message names the setting.
        """
        settings = shared_face_settings(models, options.detector, options.every, options.head_pose)
        return cls(settings, options.people == "all" and any(FACE_INPUTS & each.model.inputs for each in models))

    def settings_for(self, paths: Sequence[Path]) -> FaceSettings:
        """Returns how the faces of these files are extracted; no network is loaded for sound alone."""
        if all(map(is_audio_file, paths)):
            return replace(self.settings, detector="none", landmarks="none", person="none")
        return self.settings


def shared_face_settings(
    models: Sequence[TrainedModel], detector: Detector, every: int, head_pose: bool = False
) -> FaceSettings:
    """Returns the settings with which all models see faces as they did in training.

    The size of the crops is the largest of all models; the others resize them, as they do with crops of clips.
    Landmarks and persons are found if a model uses them. Models that only use audio are ignored, unless all of them
    do: then faces are extracted for the figures, as the first model states. The audio is always kept for the figures:
    reading it takes about a hundredth of the time of finding faces.

    Args:
        models: one or more.
        detector: finds the faces, instead of the one of training.
        every: look for faces in every n-th frame.
        head_pose: find the landmarks on which the head pose is measured even if no model uses them.

    Raises:
        ValueError: the models were trained on faces with different settings; the message names the setting.
    """
    with_faces = [model for model in models if model.model.inputs & FACE_INPUTS] or models[:1]
    required = [(model, _settings_for_videos(model, detector, every)) for model in with_faces]
    shared = {field.name: _shared_value(field.name, required) for field in fields(FaceSettings)}
    settings = FaceSettings(**shared)
    return replace(settings, landmarks="mesh") if head_pose and settings.landmarks == "none" else settings


def _settings_for_videos(model: TrainedModel, detector: Detector, every: int) -> FaceSettings:
    """Returns the settings of training, with networks in place of ground truth, which a video does not have."""
    faces, needed = model.faces, needed_settings(model.model.inputs)
    landmarks = "mesh" if faces.landmarks in ("annotation", "table") else faces.landmarks
    person = "insightface" if faces.person == "annotation" else faces.person
    return replace(
        faces,
        detector=detector,
        every=every,
        jitter=0.0,
        audio=True,
        lengthen=0,
        landmarks=landmarks if "landmarks" in needed else "none",
        person=person if "person" in needed else "none",
    )


def _shared_value(name: str, required: Sequence[tuple[TrainedModel, FaceSettings]]) -> Any:
    """Returns the value of a setting that suits all models."""
    values = [(model, getattr(settings, name)) for model, settings in required]
    if name == "size":
        return max(size for _, size in values)
    if name in OPTIONAL:
        values = [pair for pair in values if pair[1] != "none"] or values
    first, shared = values[0]
    for model, value in values[1:]:
        if value != shared:
            raise ValueError(
                f"the models of an ensemble share the faces of a video, but faces.{name} is {shared} in "
                f"{first.checkpoint} and {value} in {model.checkpoint}: predict with each of them alone, or train both "
                "with the same face settings"
            )
    return shared
