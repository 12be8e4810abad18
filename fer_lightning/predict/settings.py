"""How expressions were had from a video: by which model or ensemble, of what it looks at and hears."""

from dataclasses import asdict, dataclass
from typing import Any

from data_modules.loading.batch import AUDIO_INPUTS, FACE_INPUTS

NO_FACE, NO_AUDIO = "no face", "no sound"
NEITHER = "no face or sound"


@dataclass(frozen=True)
class ModelFacts:
    """What a model is, or an ensemble and its members."""

    checkpoint: str  # of an ensemble its run's folder
    model: str  # class name; of an ensemble its method
    inputs: tuple[str, ...]  # what it looks at and hears
    sampler: str  # empty of an ensemble, whose models have one each
    members: "tuple[MemberFacts, ...]" = ()

    @property
    def looks(self) -> bool:
        """Whether the model sees anything of faces."""
        return bool(FACE_INPUTS & set(self.inputs))

    @property
    def hears(self) -> bool:
        """Whether the model hears anything."""
        return bool(AUDIO_INPUTS & set(self.inputs))

    @property
    def shares(self) -> str:
        """The members with their weights or groups, those of ensembles among them in brackets."""
        return ", ".join(
            f"{member.name} {member.share}" + f" ({member.facts.shares})" * bool(member.facts.members)
            for member in self.members
        )


@dataclass(frozen=True)
class MemberFacts:
    """A member of an ensemble that has a say."""

    name: str
    share: str  # its weight or its group, in words
    weight: float | None  # None where it has none
    facts: ModelFacts


@dataclass(frozen=True)
class PredictionSettings:
    """How expressions were had from a video."""

    by: ModelFacts
    detector: str
    every: int  # the detector looked at each n-th frame
    window: float  # seconds
    hop: float  # seconds

    @property
    def missing(self) -> str:
        """What is said of a row in which the model finds nothing that it looks at or hears."""
        if self.by.hears:
            return NEITHER if self.by.looks else NO_AUDIO
        return NO_FACE

    def plain(self) -> dict[str, Any]:
        """All of it under the names that tables have, the model's facts beside the others."""
        values = asdict(self)
        by: dict[str, Any] = values.pop("by")
        return by | values
