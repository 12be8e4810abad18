"""The section with the accuracy of each subject."""

import numpy as np
from matplotlib.figure import Figure

from data_modules.utils.text import counted
from fer_lightning.evaluation.metrics import WAR
from fer_lightning.evaluation.subjects import SubjectScores, subject_scores
from fer_lightning.report.elements import EvaluatedRun, Section, Table
from fer_lightning.report.figures.style import BLUE, FAINT, GREY, RED, plain, share_axis, styled

NAMED_SUBJECTS = 45  # more names than this cannot be read on one axis


@styled
def subjects_figure(subjects: SubjectScores, war: float) -> Figure:
    """Draws the accuracy of each subject, best first, with its number of clips and the accuracy over all clips."""
    count = len(subjects.subject)
    named = count <= NAMED_SUBJECTS
    figure = Figure(figsize=(min(10.0, max(5.0, 1.6 + 0.3 * count)), 3.0), layout="constrained")
    axes = figure.add_subplot()
    share_axis(axes, "share of correct clips")
    position = np.arange(count)
    if named:
        axes.vlines(position, 0, subjects.accuracy, color=FAINT, linewidth=3)
        axes.set_xticks(position, [plain(str(name), 14) for name in subjects.subject], rotation=60, ha="right")
        axes.tick_params(axis="x", labelsize=7)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{count} subjects, best first")
    sizes = np.clip(10 + 50 * subjects.clips / max(subjects.clips.max(initial=1), 1), 10, 60)
    axes.scatter(position, subjects.accuracy, s=sizes, color=BLUE, zorder=3, clip_on=False)
    axes.axhline(war, color=RED, linewidth=1, linestyle="--", label=f"all clips: {war:.3f}")
    axes.set_xlim(-0.7, count - 0.3)
    axes.set_title("area of a point: number of clips", fontsize=8, color=GREY)
    axes.legend(loc="lower left")
    return figure


def section(run: EvaluatedRun) -> Section:
    """Shows the accuracy of each subject."""
    subjects = subject_scores(run.table)
    if not len(subjects.subject):
        return Section("subjects", "Subjects", missing=("The data set does not say who appears in which clip.",))
    accuracy = subjects.accuracy
    text = (
        f"{counted(len(accuracy), 'subject')}: accuracy {accuracy.mean():.3f} ± {accuracy.std():.3f} (mean and "
        f"standard deviation over subjects), from {accuracy.min():.3f} to {accuracy.max():.3f}, median "
        f"{np.median(accuracy):.3f}."
    )
    unknown = subjects.without_subject
    texts = (text, f"Not shown: {counted(unknown, 'clip')} of unknown subject.") if unknown else (text,)
    rows = tuple(
        (str(name), str(clips), str(correct), f"{share:.3f}")
        for name, clips, correct, share in zip(
            subjects.subject, subjects.clips, subjects.correct, accuracy, strict=True
        )
    )
    alt = "Accuracy of each subject, best first; the table below holds the same numbers"
    picture = run.gallery.add("subjects", subjects_figure(subjects, run.scores[WAR]), alt)
    table = Table("All subjects", ("subject", "clips", "correct", "accuracy"), rows, collapsed=True)
    return Section("subjects", "Subjects", texts, pictures=(picture,), tables=(table,))
