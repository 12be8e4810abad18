"""What a run is called beside others: its group, its kind and what it was trained on; kept as `labels.json`."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

from data_modules.utils.files import atomic_write
from fer_lightning.runs.folder import RunFolder

JobType = Literal["train", "ablation", "cv", "ensemble", "evaluate", "table"]
NAME = "labels.json"
MAX_TAG = 64  # characters that Weights & Biases takes


def project_name(stated: str | None = None) -> str:
    """Returns the project of Weights & Biases: the stated one, or the variable WANDB_PROJECT, or `fer_lightning`."""
    return stated or os.environ.get("WANDB_PROJECT") or "fer_lightning"


@dataclass(frozen=True)
class RunLabels:
    """The labels under which Weights & Biases groups, filters and finds a run; empty where one does not apply.

    Args:
        group: the table or the experiment to which the run belongs.
        job_type: `train`, `ablation`, `evaluate`, or `cv`, `ensemble` and `table`, which sum up other runs.
        system: the first part of an experiment's name, such as `ceflnet`.
        data: name of the data set.
        size: `small` or `paper`.
        fold: fold of the data set's protocol.
        seed: seed of everything random.
        variant: what `--name` says.
        selection: how the epoch is chosen.
    """

    group: str = ""
    job_type: JobType = "train"
    system: str = ""
    data: str = ""
    size: str = ""
    fold: str = ""
    seed: int | None = None
    variant: str = ""
    selection: str = ""

    @property
    def tags(self) -> list[str]:
        """The labels that are not empty, such as `system: ceflnet`, except group and kind, which have their own place.

        A longer one than Weights & Biases takes is cut.
        """
        named = (
            ("system", self.system),
            ("data", self.data),
            ("size", self.size),
            ("fold", self.fold),
            ("seed", "" if self.seed is None else str(self.seed)),
            ("variant", self.variant),
            ("selection", self.selection),
        )
        return [f"{name}: {value}"[:MAX_TAG] for name, value in named if value]

    @property
    def row(self) -> str:
        """What curves are grouped by: system and data set with the variant, whose runs differ in fold and seed."""
        return ".".join(part for part in ("_".join(filter(None, (self.system, self.data))), self.variant) if part)

    @classmethod
    def shared(cls, labels: Iterable["RunLabels"]) -> "RunLabels":
        """Returns what several runs have in common; labels in which they differ are empty."""
        given = tuple(labels)
        values = {each.name: {getattr(one, each.name) for one in given} for each in fields(cls)}
        return cls(**{name: found.pop() for name, found in values.items() if len(found) == 1})

    def write(self, run: RunFolder) -> None:
        """Writes `labels.json` into a run's folder."""
        atomic_write(run.path / NAME, json.dumps(asdict(self), indent=2).encode())

    @classmethod
    def read(cls, run: RunFolder) -> "RunLabels | None":
        """Reads the labels of a run; returns None for a run of a version that kept none.

        Raises:
            ValueError: the file is damaged.
        """
        path = run.path / NAME
        if not path.is_file():
            return None
        try:
            labels = cls(**json.loads(path.read_text()))
            if labels.job_type not in get_args(JobType):
                raise ValueError(f"job_type is {labels.job_type!r}, expected one of {', '.join(get_args(JobType))}")
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it to label the run anew") from error
        return labels
