"""The section that compares a model's accuracy with the agreement of the annotators."""

from data_modules.utils.text import counted
from fer_lightning.evaluation.annotators import run_agreement
from fer_lightning.evaluation.bootstrap import Interval, bootstrap
from fer_lightning.evaluation.metrics import WAR, scores
from fer_lightning.report.elements import EvaluatedRun, Section, Table

TEXT = (
    "A single annotator: how often one annotator's vote is the majority of the other votes for the clip; where several "
    "classes share the most votes, a vote for one of them counts by its share. The label: the share of votes that are "
    "the clip's label, called human recognition by Cao et al., CREMA-D, 2014. Each clip counts the same, as in WAR."
)


def section(run: EvaluatedRun) -> Section | None:
    """Shows how far annotators agree on the clips of the reported split; None if there are no votes."""
    found = run_agreement(run.folder, run.table)
    if found is None:
        return None
    rows = (
        _row("WAR of this run", scores(found.table)[WAR], bootstrap(found.table)[WAR]),
        _row("a single annotator", found.annotator, found.annotator_interval),
        _row("the label", found.label, found.label_interval),
    )
    caption = (
        f"The same {counted(len(found.table), 'clip')} with {found.votes:,} votes in each row. Intervals: 95 % "
        f"bootstrap over {found.unit}s."
    )
    texts = [TEXT]
    if found.without_votes:
        texts.append(f"Left out: {counted(found.without_votes, 'clip')} with fewer than two votes for the classes.")
    if found.other_votes:
        texts.append(f"Left out: {counted(found.other_votes, 'vote')} for none of the classes.")
    table = Table(caption, ("of the clips", "share", "95 %"), rows)
    return Section("annotators", "Agreement of annotators", tuple(texts), tables=(table,))


def _row(name: str, value: float, interval: Interval) -> tuple[str, ...]:
    return name, WAR.write(value), interval.written(WAR)
