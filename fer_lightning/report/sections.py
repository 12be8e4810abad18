"""The sections of a report: each function turns a part of a run into text, pictures and tables.

A section whose files are missing says so and what to do; it never stops the report.
"""

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure
from safetensors import SafetensorError

from data_modules.store.clip_store import ClipStore, StoredClip
from data_modules.utils.files import write_whole
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.comparison import difference_line, paired_difference
from fer_lightning.evaluation.features import silhouette
from fer_lightning.evaluation.localization import peak_localization
from fer_lightning.evaluation.metrics import WAR, Scores, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.evaluation.subjects import subject_scores
from fer_lightning.report import figures
from fer_lightning.report.summary import metric_cells, metric_header
from fer_lightning.runs.folder import RunFolder, RunInfo

EMBEDDED = 2000  # clips on a map of features
RELATED = 4  # clips whose frames' relations are shown
LISTED = 500  # clips without prediction that are listed one by one
MAX_CONFIG = 1 << 20
CSS_DPI = 96  # a page's pixels in an inch

Example = TypeVar("Example")


@dataclass(frozen=True)
class Picture:
    """A figure inside of the page."""

    uri: str
    width: int  # on the page, pixels
    alt: str
    caption: str = ""
    wide: bool = False  # scrolls on a phone instead of shrinking until nothing can be read


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = True
    collapsed: bool = False


@dataclass(frozen=True)
class Section:
    """What stands under one heading."""

    name: str
    title: str
    texts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""
    code_title: str = ""


class Gallery:
    """The folder of a report's PNG files; each is written there and embedded in the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: set[str] = set()

    def add(self, name: str, figure: Figure, alt: str, caption: str = "", wide: bool = False) -> Picture:
        """Writes the figure as `name.png` and returns it for the page."""
        content = figures.png(figure)
        write_whole(self.folder / f"{name}.png", content)
        self.names.add(f"{name}.png")
        uri = "data:image/png;base64," + base64.b64encode(content).decode()
        return Picture(uri, round(figure.get_figwidth() * CSS_DPI), alt, caption, wide)

    def tidy(self) -> None:
        """Deletes pictures of an earlier report that this one does not have."""
        for path in self.folder.glob("*.png"):
            if path.name not in self.names:
                path.unlink()


def confusion(found: Scores, table: PredictionTable, gallery: Gallery) -> Section:
    """The confusion matrix."""
    figure = figures.confusion_figure(found.confusion, table.class_names)
    alt = f"Confusion matrix of {len(table.class_names)} classes; the same counts stand in the table below"
    names = (*table.class_names, "none")[: len(table.class_names) + int(table.missing.any())]
    rows = [(name, *map(str, row[: len(names)])) for name, row in zip(table.class_names, found.confusion, strict=True)]
    counts = Table("The same as counts", ("true", *names), tuple(rows), collapsed=True)
    caption = "Rows are the true classes and add up to 100 per cent."
    if table.missing.any():
        caption += " The last column holds the clips without a prediction."
    return Section(
        "confusion", "Confusion matrix", pictures=(gallery.add("confusion", figure, alt, caption),), tables=(counts,)
    )


def classes(found: Scores, table: PredictionTable) -> Section:
    """Recall, precision and F1 of each class."""
    rows = []
    for i, name in enumerate(table.class_names):
        values = (found.class_accuracy[i], found.precision[i], found.f1[i])
        shown = tuple(f"{value:.3f}" for value in values) if found.support[i] else ("–",) * 3
        rows.append((name, str(found.support[i]), *shown))
    caption = "Recall is the class accuracy. A dash: the class does not occur in this split."
    return Section(
        "classes", "Classes", tables=(Table(caption, ("class", "N", "recall", "precision", "F1"), tuple(rows)),)
    )


def subjects(found: Scores, table: PredictionTable, gallery: Gallery) -> Section:
    """The accuracy of each subject."""
    people = subject_scores(table)
    if not len(people.subject):
        return Section("subjects", "Subjects", missing=("The data set does not tell who is seen in a clip.",))
    accuracy = people.accuracy
    text = (
        f"{len(accuracy)} subjects: accuracy {accuracy.mean():.3f} ± {accuracy.std():.3f} (mean and standard deviation "
        f"over subjects), from {accuracy.min():.3f} to {accuracy.max():.3f}, median {np.median(accuracy):.3f}."
    )
    unknown = people.without_subject
    texts = (text, f"{unknown} clips are of unknown subject and not shown here.") if unknown else (text,)
    rows = tuple(
        (str(name), str(clips), str(correct), f"{share:.3f}")
        for name, clips, correct, share in zip(people.subject, people.clips, people.correct, accuracy, strict=True)
    )
    alt = "Accuracy of each subject, best first; the same numbers stand in the table below"
    picture = gallery.add("subjects", figures.subjects_figure(people, found[WAR]), alt, wide=True)
    listed = Table("Each subject", ("subject", "clips", "right", "accuracy"), rows, collapsed=True)
    return Section("subjects", "Subjects", texts, pictures=(picture,), tables=(listed,))


def streams(table: PredictionTable, outputs: ClipOutputs | None) -> Section | None:
    """What each stream says alone, beside their fusion; None for a model of one stream."""
    if outputs is None or not outputs.stream_names:
        return None
    alone = [(name, outputs.stream_table(name, table)) for name in outputs.stream_names]
    rows = [_stream_row(f"{name} alone", found) for name, found in alone] + [_stream_row("fusion", table)]
    best, other = max(alone, key=lambda pair: scores(pair[1])[WAR])
    found = paired_difference(table, other)
    text = f"The best stream here is {best}; {difference_line(found, 'the fusion', best)}."
    caption = (
        f"All rows are over the same {len(table)} clips. A clip that has nothing for a stream, such as one without "
        "landmarks, counts as that stream's error; the last column tells how many there are. Intervals: 95 % bootstrap "
        f"over {found.unit}s."
    )
    header = ("scores of", *metric_header(), "clips without")
    return Section("streams", "Streams", (text,), tables=(Table(caption, header, tuple(rows)),))


def _stream_row(name: str, table: PredictionTable) -> tuple[str, ...]:
    return (name, *metric_cells(table), str(int(table.missing.sum())))


def curves(run: RunFolder, info: RunInfo, gallery: Gallery) -> Section | None:
    """Learning curves; None for ensembles, which have no epochs."""
    if info.epoch < 0:
        return None
    try:
        logged = figures.read_curves(run.curves)
        figure = figures.curves_figure(logged, info.epoch)
    except (FileNotFoundError, ValueError) as error:
        return Section("curves", "Learning curves", missing=(str(error),))
    broken = [curve.name for curve in logged if not np.isfinite(curve.value).all()]
    missing = (f"Not finite in some epochs: {', '.join(broken)}.",) if broken else ()
    caption = "The dotted line marks the epoch that is reported; epochs are counted from 0."
    picture = gallery.add("curves", figure, "Loss, accuracies and learning rate by epoch", caption, wide=True)
    return Section("curves", "Learning curves", missing=missing, pictures=(picture,))


def embedding(table: PredictionTable, outputs: ClipOutputs | None, missing: str, gallery: Gallery) -> Section:
    """t-SNE and silhouette of the clip features."""
    title = "Clip features"
    if outputs is None:
        return Section("features", title, missing=(missing,))
    names = dict(zip(table.clip_id.tolist(), table.emotion.tolist(), strict=True))
    emotion = np.array([names[clip_id] for clip_id in outputs.clip_id], dtype=np.str_)
    rows = np.flatnonzero(np.isfinite(outputs.feature).all(axis=1))
    drawn = rows
    if len(rows) > EMBEDDED:
        drawn = np.sort(np.random.default_rng(0).choice(rows, EMBEDDED, replace=False))
    try:
        points = figures.tsne(outputs.feature[drawn])
    except ValueError as error:
        return Section("features", title, missing=(f"No map: {error}.",))
    text = (
        f"Mean silhouette of the {outputs.feature.shape[1]}-dimensional features of {len(rows)} clips by true class: "
        f"{silhouette(outputs.feature[rows], emotion[rows]):.3f} (1: classes apart, 0: mixed)."
    )
    caption = f"t-SNE of the clip features, coloured by true class; {len(drawn)} of {len(table)} clips"
    caption += ", drawn at random." if len(drawn) < len(rows) else "."
    figure = figures.embedding_figure(points, emotion[drawn].tolist(), table.class_names)
    picture = gallery.add("features", figure, "Clip features in the plane by true class", caption)
    return Section("features", title, (text,), pictures=(picture,))


def activation(
    info: RunInfo, table: PredictionTable, outputs: ClipOutputs | None, missing: str, gallery: Gallery
) -> Section:
    """Emotional activation maps of example clips."""
    name, title = "activation", "Emotional activation maps"
    if outputs is None or outputs.attention is None or not outputs.frame_index.size:
        reason = missing if outputs is None else f"{info.model} gives no attention over frames."
        return Section(name, title, missing=(reason,))
    texts = [
        "Sampled frames and the weight that the model gives them; the most attended group of frames in orange. Of each "
        "class the right clip of middling confidence, then the wrong clips of the highest."
    ]
    texts += _localization(outputs)
    chosen = figures.choose_examples(table, outputs)
    examples, problems = _load(info, chosen, lambda clip_id, clip: figures.load_example(clip_id, table, outputs, clip))
    pictures: list[Picture] = []
    for example in examples:
        alt = f"Clip {example.clip_id}: frames and attention; true {example.emotion}, predicted {example.predicted}"
        number = f"activation-{len(pictures) + 1:02d}"
        pictures.append(gallery.add(number, figures.activation_figure(example), alt, wide=True))
    if not pictures and not problems:
        problems = ("No clip has both a prediction and attention to show.",)
    return Section(name, title, tuple(texts), problems, tuple(pictures))


def relations(info: RunInfo, table: PredictionTable, outputs: ClipOutputs | None, gallery: Gallery) -> Section | None:
    """How the sampled frames of example clips relate; None where the model does not tell."""
    if outputs is None or outputs.relation is None or not outputs.frame_index.size:
        return None
    texts = [
        "The sampled frames, and how they relate: each cell of the matrix says how alike the frames of its row and its "
        "column are, or how much the one of the row attends to the one of the column. The bars are the matrix's means."
    ]
    if outputs.standing is not None:
        changed = (outputs.standing != np.arange(outputs.standing.shape[1])).sum(axis=1)
        texts.append(
            "The second row of frames is what the model goes on with after the substitution: replaced frames are "
            f"framed in orange, and the number below tells which frame stands there. {changed.mean():.1f} of "
            f"{outputs.standing.shape[1]} frames are replaced in a clip on average."
        )
    chosen = figures.choose_examples(table, outputs, RELATED - 1, 1)
    examples, problems = _load(info, chosen, lambda clip_id, clip: figures.load_relation(clip_id, table, outputs, clip))
    pictures: list[Picture] = []
    for example in examples:
        replaced = ", ".join(str(place + 1) for place in np.flatnonzero(example.replaced)) or "none"
        alt = f"Clip {example.clip_id}: how its frames relate; replaced frames: {replaced}"
        number = f"relations-{len(pictures) + 1:02d}"
        pictures.append(gallery.add(number, figures.relation_figure(example), alt, wide=True))
    return Section("relations", "How the frames relate", tuple(texts), problems, tuple(pictures))


def _load(
    info: RunInfo, chosen: Sequence[str], load: Callable[[str, StoredClip], Example]
) -> tuple[list[Example], tuple[str, ...]]:
    """Example clips with their frames, and why there are not all of them."""
    store = ClipStore(Path(info.store))
    if not store.folder.is_dir():
        return [], (f"{store.folder} is missing: without the face store no frames.",)
    examples: list[Example] = []
    problems: list[str] = []
    for clip_id in chosen:
        try:
            examples.append(load(clip_id, store.open(clip_id)))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            problems.append(f"Clip {clip_id} is not shown: {error}")
    return examples, tuple(problems)


def _localization(outputs: ClipOutputs) -> list[str]:
    """How often attention finds the expression, where its intensity is known."""
    if outputs.intensity is None:
        return []
    found = peak_localization(outputs)
    if not found.clips:
        return ["No clip has an expression of known intensity to be found."]
    left_out = f"{found.flat} clips without a marked expression"
    left_out += f" and {found.unknown} of unknown intensity" if found.unknown else ""
    return [
        f"The most attended group holds the peak of the expression in {100 * found.hit_rate:.1f} % of {found.clips} "
        f"clips; a group drawn at random would in {100 * found.chance:.1f} %. Left out: {left_out}."
    ]


def coverage(table: PredictionTable, gallery: Gallery) -> Section:
    """In how much of the clips a face was found, and what was not predicted."""
    values, missing = table.coverage, table.missing
    texts = [
        f"A face was found in {100 * values.mean():.1f} % of a clip's frames on average (median "
        f"{100 * np.median(values):.1f} %). In {int((values < 0.5).sum())} of {len(table)} clips it was found in less "
        "than half of the frames."
    ]
    tables: tuple[Table, ...] = ()
    if missing.any():
        texts.append(f"{int(missing.sum())} clips have no prediction.")
        reasons = Counter(table.reason[missing].tolist()).most_common()
        tables = (
            Table("Why there is no prediction", ("reason", "clips"), tuple((r, str(n)) for r, n in reasons)),
            _unanswered(table.select(missing)),
        )
    alt = "Distribution of the share of frames with a face"
    picture = gallery.add("coverage", figures.coverage_figure(values), alt)
    return Section("coverage", "Coverage", tuple(texts), pictures=(picture,), tables=tables)


def _unanswered(table: PredictionTable) -> Table:
    rows = zip(table.clip_id.tolist(), table.emotion.tolist(), table.reason.tolist(), strict=True)
    caption = "Clips without a prediction" + (f", the first {LISTED}" if len(table) > LISTED else "")
    return Table(caption, ("clip", "true class", "reason"), tuple(rows)[:LISTED], numbers=False, collapsed=True)


def cost(info: RunInfo) -> Section:
    """Parameters, multiply-adds, time."""
    unknown = "not measured"
    operations = unknown if info.multiply_adds is None else f"{info.multiply_adds / 1e9:.2f} G per clip"
    seconds = unknown if info.seconds_per_clip is None else f"{1000 * info.seconds_per_clip:.2f} ms per clip"
    how = [info.device, info.precision, f"batches of {info.batch_size}" if info.batch_size else ""]
    if info.seconds_per_clip is not None:
        seconds += f" ({', '.join(part for part in how if part)})"
    rows = (
        ("parameters", f"{info.parameters / 1e6:.2f} M"),
        ("multiply-adds", operations),
        ("time of a forward pass", seconds),
        ("training", _duration(info.seconds)),
    )
    return Section("cost", "Cost", tables=(Table("One multiply-add counts once.", (), rows, numbers=False),))


def provenance(run: RunFolder, info: RunInfo) -> Section:
    """The resolved configuration and what the run was made with."""
    rows = (("commit", info.commit or "unknown"), ("store", info.store), *info.versions)
    tables = (Table("Made with", (), tuple(rows), numbers=False),)
    title = "Configuration"
    if not run.config.exists():
        missing = f"{run.config} is missing: no resolved configuration was saved."
        return Section("configuration", title, missing=(missing,), tables=tables)
    content = run.config.read_bytes()[: MAX_CONFIG + 1]
    code = content[:MAX_CONFIG].decode("utf-8", errors="replace")
    code += f"\n# cut after {MAX_CONFIG} bytes" if len(content) > MAX_CONFIG else ""
    return Section("configuration", title, tables=tables, code=code, code_title="Resolved configuration")


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    parts: Sequence[tuple[int, str]] = ((hours, "h"), (minutes, "min"), (left, "s"))
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "under a second"
