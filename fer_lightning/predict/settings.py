"""How the expressions of a video were recognised: by which model or ensemble, and with which settings."""

from dataclasses import asdict, dataclass
from typing import Any

from data_modules.loading.batch import AUDIO_INPUTS, FACE_INPUTS

NO_FACE, NO_AUDIO = "no face", "no audio"
NEITHER = "no face or audio"


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
class PredictionSettings:
    """The settings with which the expressions of a video were recognised."""

    model_facts: ModelFacts
    detector: str
    every: int  # the detector looked at every n-th frame
    window: float  # seconds
    hop: float  # seconds

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
