"""How the faces of a video from outside are made for one model, or for several that share them."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Literal

from data_modules.faces.settings import FaceSettings
from data_modules.loading.batch import FACE_INPUTS, needed_settings
from fer_lightning.training.loading import TrainedModel

Detector = Literal["mtcnn", "insightface"]

OPTIONAL = ("landmarks", "person")  # settings of what is not found for every model


def face_settings(
    models: Sequence[TrainedModel], detector: Detector, every: int, head_pose: bool = False
) -> FaceSettings:
    """The settings with which all models see what they saw in training.

    Crops are as large as those of the model that had the largest; for others they are made smaller, as clips' crops
    are. Landmarks and persons are found where a model looks at them. Models that only hear have no say, unless all of
    them do: then faces are made for the pictures, as for the first one. The sound is kept whatever the models hear,
    for the pictures: reading it takes about a hundredth of the time of finding faces.

    Args:
        models: one or more.
        detector: finds the faces, whoever did in training.
        every: look for faces in each n-th frame.
        head_pose: find landmarks, which it is measured on, even where no model looks at them.

    Raises:
        ValueError: models saw faces that were made otherwise; the message names the setting.
    """
    looking = [model for model in models if model.model.inputs & FACE_INPUTS] or models[:1]
    wanted = [(model, _from_outside(model, detector, every)) for model in looking]
    shared = {field.name: _shared(field.name, wanted) for field in fields(FaceSettings)}
    settings = FaceSettings(**shared)
    return replace(settings, landmarks="mesh") if head_pose and settings.landmarks == "none" else settings


def _from_outside(model: TrainedModel, detector: Detector, every: int) -> FaceSettings:
    """How a video is prepared for a model: as in training, but without ground truth, which it lacks."""
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


def _shared(name: str, wanted: Sequence[tuple[TrainedModel, FaceSettings]]) -> Any:
    """The value of a setting that all models can do with."""
    values = [(model, getattr(settings, name)) for model, settings in wanted]
    if name == "size":
        return max(size for _, size in values)
    if name in OPTIONAL:
        values = [pair for pair in values if pair[1] != "none"] or values
    first, shared = values[0]
    for model, value in values:
        if value != shared:
            raise ValueError(
                f"the models of an ensemble share the faces of a video, but faces.{name} is {shared} in "
                f"{first.checkpoint} and {value} in {model.checkpoint}: predict with each of them alone, or train both "
                "with the same faces"
            )
    return shared
