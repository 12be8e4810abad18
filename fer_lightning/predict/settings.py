"""How the expressions of a video were recognised: by which model or ensemble, and with which settings."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.loading.batch import AUDIO_INPUTS, FACE_INPUTS
from fer_lightning.evaluation.calibration import scaled
from fer_lightning.evaluation.selective import Abstention

UNSURE = "unsure"
NO_FACE, NO_AUDIO = "no face", "no audio"
NEITHER = "no face or audio"
ANOTHER_PERSON = "another person"
TOO_FEW = "too few faces around"  # label of a frame with a face, but without a window that has enough of them


@dataclass(frozen=True)
class ModelFacts:
    """What is recorded about a model, or about an ensemble and its members."""

    checkpoint: str  # the run's folder for an ensemble
    model: str  # class name; the method for an ensemble
    inputs: tuple[str, ...]  # fields of `ClipBatch`
    sampler: str  # empty for an ensemble, each of whose models has its own
    members: "tuple[MemberFacts, ...]" = ()

    @property
    def uses_faces(self) -> bool:
        """Whether any of the inputs is made from faces."""
        return bool(FACE_INPUTS & set(self.inputs))

    @property
    def uses_audio(self) -> bool:
        """Whether any of the inputs is made from audio."""
        return bool(AUDIO_INPUTS & set(self.inputs))

    @property
    def shares(self) -> str:
        """The members with their weights or groups; members of nested ensembles follow in brackets."""
        return ", ".join(
            f"{member.name} {member.share}" + f" ({member.facts.shares})" * bool(member.facts.members)
            for member in self.members
        )


@dataclass(frozen=True)
class MemberFacts:
    """What is recorded about a member of an ensemble."""

    name: str
    share: str  # its weight or its group, as text
    weight: float | None  # None if the method has no weights
    facts: ModelFacts


@dataclass(frozen=True)
class Confidence:
    """How a model's probabilities become confidences, and which of them are high enough for an expression."""

    temperature: float | None = None  # None: probabilities are taken as they are
    about: str = ""  # how the temperature was fitted, or why there is none
    abstention: Abstention | None = None  # None: every row is answered

    @property
    def threshold(self) -> float:
        """The confidence below which a row is unsure; 0 if every row is answered."""
        return 0.0 if self.abstention is None else self.abstention.threshold

    def apply(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns (K, C) probabilities at the temperature."""
        return probabilities if self.temperature is None else scaled(probabilities, self.temperature)

    def describe(self) -> str:
        """Says in a sentence or two what was done to confidences; empty if nothing is known about it."""
        text = f"Confidence: {self.about}. " if self.about else ""
        return text if self.abstention is None else f"{text}With --abstain, {self.abstention.describe()}. "


@dataclass(frozen=True)
class PredictionSettings:
    """The settings with which the expressions of a video were recognised."""

    model_facts: ModelFacts
    detector: str
    every: int  # the detector looked at every n-th frame
    window: float  # seconds
    hop: float  # seconds
    confidence: Confidence = Confidence()

    @property
    def missing_label(self) -> str:
        """The label of a row in which there is nothing that the model uses."""
        if self.model_facts.uses_audio:
            return NEITHER if self.model_facts.uses_faces else NO_AUDIO
        return NO_FACE

    def to_dict(self) -> dict[str, Any]:
        """Returns all settings as plain values, those of the model beside the others."""
        values = asdict(self)
        facts: dict[str, Any] = values.pop("model_facts")
        return facts | values
