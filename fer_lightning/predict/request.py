"""How expressions are recognised, and the arguments of `fer predict`, checked before anything heavy is imported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from data_modules.faces.settings import FaceSettings
from data_modules.video.source import DEFAULT_READER, Reader

WINDOW = 2.0  # seconds, for models of several frames or of audio

Detector = Literal["mtcnn", "insightface"]
People = Literal["main", "all"]


@dataclass(frozen=True)
class RecognitionOptions:
    """How faces are found and expressions are recognised, with `fer predict` and `Recogniser` alike.

    Args:
        detector: finds the faces.
        window: seconds of video for one expression. None: 2, or `hop` for a model that sees a single frame of it, which
            would otherwise be judged to last for 2 s.
        hop: seconds from one expression to the next.
        every: look for faces in every n-th frame.
        device: auto, cpu, cuda, cuda:1 or mps.
        head_pose: find the landmarks that head pose needs even if the model does not use them.
        calibrate: use the model's temperature if one is known.
        abstain: the largest error among answered rows; None to answer all.
        people: whose expressions: of the main face, or of all who are seen for a second or longer, with a model of
            faces. Person 1 is that of the main face.

    Raises:
        ValueError: a value is invalid; the message names the option of `fer predict`.
    """

    detector: Detector = "mtcnn"
    window: float | None = None
    hop: float = 0.5
    every: int = FaceSettings.every
    device: str = "auto"
    head_pose: bool = False
    calibrate: bool = True
    abstain: float | None = None
    people: People = "main"

    def __post_init__(self) -> None:
        window = WINDOW if self.window is None else self.window
        if not 0 < self.hop <= window < float("inf"):
            raise ValueError(
                f"--hop {self.hop:g} --window {window:g}: expected 0 < hop <= window, in seconds; with a longer "
                "hop, parts of the video would not be in any window"
            )
        if self.every < 1:
            raise ValueError(f"--every {self.every}: expected 1 (every frame) or more")
        if self.people not in get_args(People):
            raise ValueError(f"--people {self.people}: expected {' or '.join(get_args(People))}")
        if self.abstain is not None and not 0 < self.abstain < 1:
            raise ValueError(f"--abstain {self.abstain:g}: expected a share of errors between 0 and 1, such as 0.1")
        if self.abstain is not None and not self.calibrate:
            raise ValueError("--abstain with --no-calibration: thresholds are of calibrated confidences; leave one out")

    def window_for(self, single_frame: bool) -> float:
        """Returns the seconds of video for one expression of a model that sees several frames of them, or only one."""
        default = self.hop if single_frame else WINDOW
        return default if self.window is None else self.window


@dataclass(frozen=True)
class PredictionRequest:
    """The arguments of one call of `fer predict`; without a checkpoint, the suite's own model predicts.

    Raises:
        ValueError: a value is invalid, or `out` is a file; the message names the option.
    """

    videos: tuple[Path, ...]
    checkpoint: Path | None
    out: Path = Path("predictions")
    options: RecognitionOptions = RecognitionOptions()
    video: bool = True  # write the annotated video
    workers: int = 1
    frames: bool = False  # write a table of frames, too
    reader: Reader = DEFAULT_READER  # of video files, see `VideoFile`

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"--workers {self.workers}: expected 1 or more, or 0 to read videos in this process")
        if self.out.exists() and not self.out.is_dir():
            raise ValueError(f"--out {self.out} is a file; expected a folder, or a name that is not in use")
