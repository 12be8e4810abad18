"""Expressions made by hand, for what writes and draws them."""

import numpy as np

from fer_lightning.predict.expressions import FaceTrack, Person, VideoFacts
from fer_lightning.predict.recognition import Recognition
from fer_lightning.predict.settings import ModelFacts, PredictionSettings
from fer_lightning.predict.timeline import Timeline
from fer_lightning.report.model_label import ModelLabel

LABEL = ModelLabel(
    "Eye",
    "synthetic",
    "rendered faces",
    "reported split: WAR 0.500",
    ("It blinks.",),
    "runs/eye/best.ckpt",
    ("ab" * 32,),
    "0123456789ab",
    "9.8.7",
    "2026-01-02",
)


def recognition(timeline: Timeline, video: VideoFacts | None = None, sound=None, track=None, inputs=("face",)):
    duration = float(timeline.end[-1])
    track = track or FaceTrack(np.array([0.0, 0.1]), np.array([[20, 30, 80, 90], [21, 30, 81, 90]], np.float32))
    return Recognition(
        video or VideoFacts("films/a.mp4", 160, 120, 10.0, round(10 * duration), duration, 0, 20, 0.0, ""),
        PredictionSettings(ModelFacts("run", "Eye", inputs, "sampler"), "mtcnn", 4, 2.0, 0.5),
        LABEL,
        (Person(timeline, track),),
        np.full((1, 2), np.nan, np.float32) if sound is None else sound,
    )
