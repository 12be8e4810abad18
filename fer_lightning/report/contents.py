"""The list of a report's sections in the order of the page."""

from collections.abc import Callable

from fer_lightning.report.elements import EvaluatedRun, Section
from fer_lightning.report.sections import (
    activation,
    annotators,
    calibration,
    classes,
    configuration,
    confusion,
    cost,
    coverage,
    curves,
    features,
    members,
    relations,
    selection,
    streams,
    subjects,
    temporal,
)

CONTENTS: tuple[Callable[[EvaluatedRun], Section | None], ...] = (
    annotators.section,
    confusion.section,
    classes.section,
    subjects.section,
    members.section,
    streams.section,
    calibration.section,
    curves.section,
    selection.section,
    temporal.section,
    features.section,
    activation.section,
    relations.section,
    coverage.section,
    cost.section,
    configuration.section,
)
"""Functions that make a section of an evaluated run, or return None if the section does not apply to it."""
