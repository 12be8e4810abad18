"""What is known of a model's training without its run: kept in files that are taken away."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingFacts:
    """The training of a model in a few texts; empty where it is not known.

    Args:
        dataset: name of the data set.
        result: metrics of the reported split, with intervals and N.
        commit: of the code that trained it.
    """

    dataset: str = ""
    result: str = ""
    commit: str = ""
