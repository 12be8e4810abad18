"""The section about confidence: calibration before and after temperature scaling, and what abstention would do."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_modules.utils.text import counted
from fer_lightning.evaluation.answers import Answers
from fer_lightning.evaluation.calibration import CalibrationEffect
from fer_lightning.evaluation.confidence import AURC, BINS, MEASURES, ConfidenceScores, reliability
from fer_lightning.evaluation.selective import (
    LEVEL,
    Abstention,
    RiskCoverage,
    RiskNotMetError,
    choose_threshold,
    risk_coverage,
)
from fer_lightning.report.elements import EvaluatedRun, Section, Table
from fer_lightning.report.figures.style import BLUE, GREY, ORANGE, RED, share_axis, styled

RISKS = (0.05, 0.1, 0.2)  # of which the page shows thresholds


@styled
def reliability_figure(panels: Sequence[tuple[str, Answers]]) -> Figure:
    """Draws a reliability diagram for each (title, answers): accuracy and mean confidence by bin, clips below."""
    figure = Figure(figsize=(0.6 + 3.3 * len(panels), 3.9), layout="constrained")
    axes = figure.subplots(2, len(panels), height_ratios=(3, 1), sharex=True, sharey="row", squeeze=False)
    for column, (title, answers) in enumerate(panels):
        _reliability(axes[0, column], answers)
        axes[0, column].set_title(title)
        _counts(axes[1, column], answers)
        if column:
            axes[0, column].set_ylabel("")
            axes[1, column].set_ylabel("")
    axes[0, 0].legend(loc="upper left")
    return figure


def _reliability(axes: Axes, answers: Answers) -> None:
    share_axis(axes, "share of correct clips")
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    bins, middles = reliability(answers), (np.arange(BINS) + 0.5) / BINS
    axes.bar(middles, bins.accuracy, 0.9 / BINS, color=BLUE, label="accuracy")
    axes.plot(bins.confidence, bins.confidence, "_", color=RED, markersize=9, markeredgewidth=2, label="confidence")
    low, high = np.fmin(bins.accuracy, bins.confidence), np.fmax(bins.accuracy, bins.confidence)
    axes.vlines(middles, low, high, color=RED, linewidth=1)
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=0.9)


def _counts(axes: Axes, answers: Answers) -> None:
    axes.bar((np.arange(BINS) + 0.5) / BINS, reliability(answers).clips, 0.9 / BINS, color=GREY)
    axes.set_xlabel("confidence")
    axes.set_ylabel("clips")
    axes.grid(axis="y")
    axes.set_axisbelow(True)


@styled
def risk_coverage_figure(
    reported: RiskCoverage, inner: RiskCoverage | None = None, chosen: Sequence[Abstention] = ()
) -> Figure:
    """Draws the error among the answered over the share that is answered, with the thresholds that were chosen."""
    figure = Figure(figsize=(5.0, 2.9), layout="constrained")
    axes = figure.add_subplot()
    if inner is not None:
        axes.plot(inner.coverage, inner.risk, color=ORANGE, linewidth=1.2, label="inner split")
    axes.plot(reported.coverage, reported.risk, color=BLUE, linewidth=1.6, label="reported split")
    for each in chosen:
        place = int(np.searchsorted(-reported.threshold, -each.threshold, side="right")) - 1
        if place >= 0:
            coverage, risk = reported.coverage[place], reported.risk[place]
            axes.plot(coverage, risk, "o", color=BLUE, markersize=5)
            axes.annotate(f"{100 * each.risk:g} %", (coverage, risk), (-5, 5), textcoords="offset points", ha="right")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("coverage: share of clips that are answered")
    axes.set_ylabel("error among them")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.legend(loc="upper left")
    return figure


def section(run: EvaluatedRun) -> Section | None:
    """Shows calibration and abstention; None if no clip has a prediction."""
    calibration, effect = run.calibration, run.effects.get("test")
    if effect is None:
        return None
    texts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    if calibration.temperature is None:
        missing = (f"Confidence is {calibration.describe()}.",)
    else:
        tendency = "more confident than it is right" if calibration.temperature > 1 else "right more often than it says"
        texts = (
            f"Calibrated by a {calibration.describe()}: before, the model was {tendency} there. fer predict uses it; "
            "prediction tables and all other sections of this page are without it. No prediction changes.",
        )
    before, after = Answers.of(run.table), Answers.of(calibration.calibrated(run.table))
    panels = [("as the model gives it", before)]
    if calibration.temperature is not None:
        panels.append((f"temperature {calibration.temperature:.2f}", after))
    chosen, refused = _thresholds(calibration.inner)
    reported = risk_coverage(after)
    scores = effect.before if effect.after is None else effect.after
    area = f"Area under the curve of the reported split (AURC), with its 95 % interval: {scores.written(AURC)}."
    if chosen:
        area += " Points: thresholds that were chosen on the inner split for an error of at most so many per cent."
    pictures = (
        run.gallery.add(
            "reliability",
            reliability_figure(panels),
            "Accuracy by confidence; the table below sums it up",
            f"Reported split, {counted(len(before), 'clip')} with a prediction. Red: mean confidence of a bin, and its "
            "distance to the accuracy. On the dashed line, confidence is the share of correct clips.",
        ),
        run.gallery.add(
            "risk-coverage",
            risk_coverage_figure(
                reported, risk_coverage(calibration.inner) if len(calibration.inner) else None, chosen
            ),
            "Error among the clips that are answered, by their share",
            area,
        ),
    )
    tables = [_measures(run.effects)]
    if chosen:
        tables.append(_abstention(chosen, after))
    return Section("calibration", "Confidence", texts, (*missing, *refused), pictures, tuple(tables))


def _thresholds(inner: Answers) -> tuple[list[Abstention], tuple[str, ...]]:
    """Returns the thresholds of `RISKS` that can be chosen on the inner split, and why the lowest other one cannot."""
    chosen, refused = list[Abstention](), list[str]()
    for risk in RISKS if len(inner) else ():
        try:
            chosen.append(choose_threshold(inner, risk))
        except RiskNotMetError as error:
            refused.append(f"No threshold for --abstain {risk:g}: {error}.")
    return chosen, tuple(refused)


def _measures(effects: Mapping[str, CalibrationEffect]) -> Table:
    columns: list[tuple[str, ConfidenceScores]] = []
    for split, title in (("test", "reported split"), ("inner", "inner split")):
        effect = effects.get(split)
        if effect is None:
            continue
        columns.append((title, effect.before))
        if effect.after is not None:
            columns.append((f"{title}, calibrated", effect.after))
    rows = [(measure.short, *(scores.written(measure) for _, scores in columns)) for measure in MEASURES]
    rows.append(("clips", *(str(scores.clips) for _, scores in columns)))
    meanings = "; ".join(f"{measure.short}: {measure.meaning}" for measure in MEASURES)
    caption = (
        f"Lower is better. {meanings}. Intervals: 95 % bootstrap over subjects, films or clips. The temperature was "
        "fitted on the inner split, whose calibrated values are optimistic."
    )
    return Table(caption, ("", *(title for title, _ in columns)), tuple(rows))


def _abstention(chosen: Sequence[Abstention], reported: Answers) -> Table:
    rows = []
    for each in chosen:
        kept = reported.confidence >= each.threshold
        error = f"{(~reported.correct[kept]).mean():.3f}" if kept.any() else "–"
        inner = (f"{each.answered / each.clips:.3f}", f"{each.errors / each.answered:.3f}")
        rows.append((f"{100 * each.risk:g} %", f"{each.threshold:.3f}", *inner, f"{kept.mean():.3f}", error))
    header = ("risk", "threshold", "coverage, inner", "error, inner", "coverage, reported", "error, reported")
    caption = (
        "For fer predict --abstain RISK: thresholds of confidence that keep the error among answered clips at or below "
        f"a risk with {100 * LEVEL:g} % confidence, chosen on the inner split as if its clips were independent, and "
        "what they come to on the reported split."
    )
    return Table(caption, header, tuple(rows))
