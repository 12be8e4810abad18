"""What a report's page shows, from top to bottom."""

from collections.abc import Callable

from fer_lightning.report.elements import EvaluatedRun, Section
from fer_lightning.report.sections import (
    activation,
    classes,
    configuration,
    confusion,
    cost,
    coverage,
    curves,
    features,
    members,
    relations,
    streams,
    subjects,
)

CONTENTS: tuple[Callable[[EvaluatedRun], Section | None], ...] = (
    confusion.section,
    classes.section,
    subjects.section,
    members.section,
    streams.section,
    curves.section,
    features.section,
    activation.section,
    relations.section,
    coverage.section,
    cost.section,
    configuration.section,
)
"""Each makes a section of an evaluated run, or nothing where the run has nothing of the kind."""
