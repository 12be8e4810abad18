"""`fer data`: what there is, making it ready, and whether a copy is sound."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_modules.datasets.dataset import DatasetNotFoundError, SplitCount, VideoDataset
from data_modules.datasets.doctor import Diagnosis, Finding, examine
from data_modules.datasets.fold_files import fold_rows, write_folds
from data_modules.manifest import misnamed
from data_modules.prepare.faces import prepare_faces
from data_modules.prepare.pending import FAILED
from data_modules.prepare.shard import WHOLE, Shard
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.request import data_names

SHOWN = 10  # clips that a finding names on the screen


def main(arguments: list[str]) -> int:
    """`fer data list`, `fer data prepare NAME`, `fer data doctor NAME` and `fer data folds NAME`."""
    parser = argparse.ArgumentParser("fer data", description="What data sets there are, and making them ready.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all data sets: classes, licence, and whether they are here")
    prepare = commands.add_parser("prepare", help="render or check a data set, and crop its faces; resumable")
    doctor = commands.add_parser("doctor", help="is a copy complete, readable and divided soundly? Status 1 if not")
    folds = commands.add_parser("folds", help="write the fold in which each clip is tested to a table others can use")
    for command in (prepare, doctor, folds):
        command.add_argument("name", help=", ".join(data_names()))
    folds.add_argument("--out", type=Path, help="the table (folds_NAME.csv)")
    for command in (prepare, doctor):
        command.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (all cores)")
    prepare.add_argument("--shard", type=shard, default=WHOLE, metavar="I/N", help="only the I-th of N parts")
    prepare.add_argument("--limit", type=int, metavar="N", help="only the first N clips, to look at")
    prepare.add_argument("--device", help="of the detectors: cpu, cuda, cuda:1 (a GPU where there is one)")
    doctor.add_argument("--root", help="where the copy lies (the data set's folder in FER_DATA)")
    doctor.add_argument("--json", action="store_true", help="all findings in full, as JSON")
    known, others = parser.parse_known_args(arguments[1:])
    if known.command == "list":
        show(list_table({name: build_dataset(name) for name in data_names()}))
    elif known.command == "prepare":
        return prepare_data(build_dataset(known.name, others), known.workers, known.limit, known.shard, known.device)
    elif known.command == "folds":
        print(export_folds(build_dataset(known.name, others), known.out or Path(f"folds_{known.name}.csv")))
    else:
        root = [] if known.root is None else ["--dataset.root", known.root]
        return diagnose(build_dataset(known.name, [*root, *others]), known.workers, known.json)
    return 0


def prepare_data(dataset: VideoDataset, workers: int, limit: int | None, part: Shard, device: str | None) -> int:
    """Makes the faces of a data set, or of a part of it; returns 1 where clips failed for reasons that
    may pass, or were left out because of their names.

    Raises:
        NotWritableError: the store takes no more files.
    """
    store = prepare_faces(dataset, workers, limit, part, device=device)
    index = store.read_index()
    records = part.of_records(dataset.records()[:limit])
    left_out = [record for record in records if misnamed(record)]
    rows = [index[record.clip_id] for record in records if not misnamed(record)]
    failed = [row for row in rows if row.reason.startswith(FAILED)]
    for row in failed:
        print(f"{row.clip_id}: {row.reason}", file=sys.stderr)
    if failed:
        print(
            f"{dataset.name}: {len(failed)} of {len(rows)} clips failed for reasons that lie outside of their files; "
            "the same command tries them again",
            file=sys.stderr,
        )
    return 1 if failed or left_out else 0


def shard(text: str) -> Shard:
    """A part of a data set, from the command line."""
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def export_folds(dataset: VideoDataset, path: Path) -> str:
    """Writes the fold in which each clip is tested; returns what was written where.

    Raises:
        ValueError: the data set has one division only.
    """
    if dataset.folds < 2:
        raise ValueError(f"{dataset.name} has one division into training and test, told by itself; expected folds")
    folds = [replace(dataset, fold=fold).records() for fold in dataset.fold_names]
    rows, clips = fold_rows(folds), {record.clip_id for records in folds for record in records}
    write_folds(path, rows)
    never = len(clips - {row.clip_id for row in rows})
    left = f"; {never} clips are tested in none" if never else ""
    return f"{dataset.name}: {dataset.folds} folds of {len(clips)} clips in {path.absolute()}{left}"


def show(*parts: Table | Text) -> None:
    """Prints tables and lines; where there is no terminal whose width is known, wide enough not to break words."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(*parts, sep="\n")


def list_table(datasets: dict[str, VideoDataset]) -> Table:
    """A row for each data set: its classes, its licence, and its clips here or where to get them."""
    table = Table("data set", "classes", "licence", title="Data sets", title_justify="left", show_lines=True)
    table.add_column("here", overflow="fold")  # addresses whole
    for name, dataset in datasets.items():
        classes = ""
        try:
            classes = f"{len(dataset.class_names)}: {', '.join(dataset.class_names)}"
            here = Text(f"{len(dataset.records())} clips in {dataset.folder}", "green")
        except DatasetNotFoundError:
            here = Text(f"no: {dataset.how_to_get}")
        except ValueError as error:  # an annotation that does not fit; the others are listed all the same
            here = Text(str(error), "red")
        table.add_row(Text(name, "bold"), Text(classes or "those of your clips"), Text(dataset.licence), here)
    return table


def diagnose(dataset: VideoDataset, workers: int, as_json: bool) -> int:
    """Shows what the doctor finds; returns 1 where it makes results wrong."""
    if as_json:
        with redirect_stdout(sys.stderr):  # the bars
            diagnosis = examine(dataset, workers)
        print(json.dumps({**asdict(diagnosis), "healthy": diagnosis.healthy}, indent=2))
    else:
        diagnosis = examine(dataset, workers)
        verdict = Text("nothing makes results wrong", "green")
        if not diagnosis.healthy:
            verdict = Text("results on this copy are wrong until the findings marked ✗ are mended", "bold red")
        title = Text(f"{diagnosis.dataset}, fold {diagnosis.fold}: {diagnosis.root}")
        show(title, counts_table(diagnosis), *map(_line, diagnosis.findings), verdict)
    return 0 if diagnosis.healthy else 1


def counts_table(diagnosis: Diagnosis) -> Table:
    """Clips of each class in each split, those that are published beside them."""
    table = Table("class")
    columns: list[SplitCount] = [*diagnosis.found, *diagnosis.published]
    for count in diagnosis.found:
        table.add_column(Text(count.split), justify="right")
    for count in diagnosis.published:
        table.add_column(f"published: {count.split or 'all'}", justify="right")
    for emotion in (*diagnosis.class_names, *_strangers(diagnosis)):
        table.add_row(Text(emotion), *(_number(count, emotion, count in diagnosis.found) for count in columns))
    table.add_section()
    table.add_row("all", *(str(count.clips) for count in columns))
    return table


def _strangers(diagnosis: Diagnosis) -> Sequence[str]:
    """Labels outside of the class list."""
    found = {emotion for count in diagnosis.found for emotion, _ in count.emotions}
    return sorted(found - set(diagnosis.class_names))


def _number(count: SplitCount, emotion: str, found: bool) -> str:
    return str(dict(count.emotions).get(emotion, 0 if found else ""))


def _line(finding: Finding) -> Text:
    mark, style = ("✗", "red") if finding.severity == "wrong" else ("·", "yellow")
    text = Text(f"{mark} {finding.kind}: ", style).append(finding.text, "default")
    for clip in finding.clips[:SHOWN]:
        text.append(f"\n    {clip}", "default")
    if len(finding.clips) > SHOWN:
        text.append(f"\n    and {len(finding.clips) - SHOWN} more; all of them with --json", "default")
    return text
