"""`fer data`: lists and prepares data sets, checks copies of them, and exports their folds."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_modules.datasets.dataset import DatasetNotFoundError, SplitCount, VideoDataset
from data_modules.manifest import misnamed
from data_modules.prepare.shard import WHOLE, Shard
from data_modules.utils.processors import usable_processors
from data_modules.utils.text import printable_line
from data_modules.video.source import DEFAULT_READER, Reader
from fer_lightning.cli.parsing import (
    DATASET_ROOT,
    CommandParser,
    add_reader_option,
    add_root,
    refuse_unknown,
    with_choices,
)
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.system import data_names

if TYPE_CHECKING:
    from data_modules.datasets.doctor import Diagnosis, Finding
    from fer_lightning.experiments.identities import Identities

KNOWN = "synthetic"  # the data set on whose people embeddings are measured
OF_KNOWN = "--known."  # before an option of that data set
NEW_FOLDS = 5  # of a data set without folds
MAX_CLIPS = 10  # clips that are printed for each finding


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser("fer data", description="List, prepare and check data sets.")
    commands = parser.add_subparsers(dest="command", required=True)
    listed = commands.add_parser(
        "list", help="list all data sets: classes, licence, and whether they are on this machine"
    )
    listed.add_argument("--json", action="store_true", help="print the list as JSON")
    prepare = commands.add_parser("prepare", help="render or check a data set and crop its faces; can be resumed")
    doctor = commands.add_parser(
        "doctor", help="check that a copy is complete, readable and split correctly; exit status 1 if not"
    )
    folds = commands.add_parser("folds", help="write a table with the fold in which each clip is tested")
    embedder = commands.add_parser(
        "embedder", help="train a network to tell the named people of a prepared data set apart, for `--embedder`"
    )
    for command in (prepare, doctor, folds, embedder):
        with_choices(command.add_argument("name", help="such as dfew; `fer data list` lists all"), data_names)
        add_root(command)
    folds.add_argument("--out", type=Path, help="the table (default: folds_NAME.csv)")
    folds.add_argument(
        "--exclusive",
        choices=("identity", "film"),
        help="make new folds that share no person, found by the prepared faces, or no film; the table names neither",
    )
    folds.add_argument("--folds", type=int, metavar="N", help="number of new folds (default: the data set's, or 5)")
    for command in (doctor, folds):
        command.add_argument(
            "--embedder",
            help="what tells faces apart: insightface, a file of `fer data embedder`, colours, the backbone of a run "
            "such as run:stills_synthetic_stills, or a network and its weights such as resnet18=timm (default: "
            "insightface if its weights are there, else colours)",
        )
        command.add_argument(
            "--known",
            default=KNOWN,
            metavar="NAME",
            help=f"prepared data set of known people (default: {KNOWN}); its options are --known.subjects and so on",
        )
        command.add_argument(
            "--threshold",
            type=float,
            metavar="SIMILARITY",
            help="mean similarity from which on clips show one person (default: chosen by the known people and the "
            "number of clips)",
        )
    doctor.add_argument(
        "--identities",
        action="store_true",
        help="compare the prepared faces: the share of test clips whose person stands in training",
    )
    embedder.add_argument("--out", type=Path, default=Path("people.safetensors"), help="default: people.safetensors")
    embedder.add_argument("--epochs", type=int, default=12, metavar="N", help="number of epochs (default: 12)")
    embedder.add_argument("--seed", type=int, default=0, help="default: 0")
    for command in (prepare, doctor):
        command.add_argument(
            "--workers", type=int, default=usable_processors(), help="number of processes (default: all cores)"
        )
    prepare.add_argument("--shard", type=shard, default=WHOLE, metavar="I/N", help="prepare only the I-th of N parts")
    prepare.add_argument("--limit", type=int, metavar="N", help="prepare only the first N clips")
    prepare.add_argument("--device", help="device of the detectors: cpu, cuda, cuda:1 (default: a GPU if there is one)")
    add_reader_option(prepare)
    doctor.add_argument("--json", action="store_true", help="print all findings in full, as JSON")
    return parser


def main(arguments: list[str]) -> int:
    """Runs `fer data list`, or another of its commands for one data set; returns the exit status.

    Raises:
        FileNotFoundError: there is no such data set, or it is not on this machine.
        ValueError: an option does not exist or is not valid.
    """
    options, others = make_parser().parse_with(arguments[1:], ("dataset", "known"))
    if options.command in ("doctor", "folds"):
        options.known_options, others = of_known(others)
    if options.command == "list":
        refuse_unknown(others, (), "fer data list")
        rows = [data_row(name) for name in data_names()]
        if options.json:
            print(json.dumps([asdict(row) for row in rows], indent=1))
        else:
            show(list_table(rows))
        return 0
    root = [] if options.root is None else [DATASET_ROOT, options.root]
    dataset = build_dataset(options.name, [*root, *others])
    if options.command == "prepare":
        return prepare_data(dataset, options.workers, options.limit, options.shard, options.device, options.reader)
    if options.command == "folds":
        path = options.out or Path(f"folds_{options.name}.csv")
        print(export_folds(dataset, path) if options.exclusive is None else make_folds(dataset, path, options))
        return 0
    if options.command == "embedder":
        from fer_lightning.experiments.identities import train_embedder

        print(train_embedder(dataset, options.out, options.epochs, options.seed))
        return 0
    status = diagnose(dataset, options.workers, options.json)
    if options.identities:
        print(leaks(dataset, options), file=sys.stderr if options.json else sys.stdout)
    return status


def leaks(dataset: VideoDataset, options: argparse.Namespace) -> str:
    """Returns what is found about people who stand in training and test; the closest pairs are in a picture."""
    from data_modules.prepare.faces import store_for
    from fer_lightning.experiments.identities import report_leaks

    picture = store_for(dataset).folder / "closest_pairs.jpg"
    return report_leaks(dataset, identities_of(dataset, options), picture)


def identities_of(dataset: VideoDataset, options: argparse.Namespace) -> "Identities":
    """Groups the clips of a data set by person, as the options say."""
    from fer_lightning.experiments.identities import find_identities

    known = build_dataset(options.known, options.known_options)
    return find_identities(dataset, known, options.embedder, options.threshold)


def of_known(options: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits options, with their values, into those of the known people's data set and those of the data set at hand.

    The first, such as `--known.subjects 400`, become options of a data set.
    """
    known, others = list[str](), list[str]()
    chosen = others
    for each in options:
        if each.startswith("--"):
            chosen = known if each.startswith(OF_KNOWN) else others
        chosen.append(f"--dataset.{each.removeprefix(OF_KNOWN)}" if each.startswith(OF_KNOWN) else each)
    return known, others


def make_folds(dataset: VideoDataset, path: Path, options: argparse.Namespace) -> str:
    """Writes a table of new folds that share no person or no film, and returns a message about it.

    Raises:
        ValueError: films or people are not known, or too few for so many folds.
    """
    from data_modules.datasets.fold_files import write_folds
    from fer_lightning.experiments.identities import film_folds, identity_folds

    folds = options.folds or (dataset.folds if dataset.folds > 1 else NEW_FOLDS)
    if options.exclusive == "film":
        rows, how = film_folds(dataset, folds), "no two share a film"
    else:
        found = identities_of(dataset, options)
        rows, how = identity_folds(dataset, found, folds), f"no two share a person, found by {found.describe()}"
    write_folds(path, rows)
    return f"{dataset.name}: {folds} folds of {len(rows)} clips in {path.absolute()}; {how}"


def prepare_data(
    dataset: VideoDataset,
    workers: int,
    limit: int | None,
    part: Shard,
    device: str | None,
    reader: Reader = DEFAULT_READER,
) -> int:
    """Extracts the faces of a data set or a part of it.

    Returns:
        1 if clips failed for reasons that may pass, or were left out because of their names; otherwise 0.

    Raises:
        NotWritableError: the store cannot be written.
        ReaderNotFoundError: the reader of videos is not installed.
    """
    # these take seconds to import, so names are checked before
    from data_modules.prepare.faces import prepare_faces, preparing
    from data_modules.prepare.pending import FAILED

    with nullcontext() if part.name else preparing(dataset):  # parts of a data set are prepared at the same time
        store = prepare_faces(dataset, workers, limit, part, device=device, reader=reader, thorough=True)
    index = store.read_index()
    records = part.select(dataset.records()[:limit])
    left_out = [record for record in records if misnamed(record)]
    rows = [index[record.clip_id] for record in records if not misnamed(record)]
    failed = [row for row in rows if row.reason.startswith(FAILED)]
    for row in failed:
        print(printable_line(f"{row.clip_id}: {row.reason}"), file=sys.stderr)
    if failed:
        print(
            f"{dataset.name}: {len(failed)} of {len(rows)} clips failed for reasons other than their files; run the "
            "same command to try them again",
            file=sys.stderr,
        )
    return 1 if failed or left_out else 0


def shard(text: str) -> Shard:
    """Parses `I/N`, the I-th of N parts of a data set."""
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def export_folds(dataset: VideoDataset, path: Path) -> str:
    """Writes a table with the fold in which each clip is tested, and returns a message about it.

    Raises:
        ValueError: the data set has a single split and no folds.
    """
    from data_modules.datasets.fold_files import fold_rows, write_folds

    if dataset.folds < 2:
        raise ValueError(f"{dataset.name} has a single split into training and test; expected a data set with folds")
    folds = [replace(dataset, fold=fold).records() for fold in dataset.fold_names]
    rows, clips = fold_rows(folds), {record.clip_id for records in folds for record in records}
    write_folds(path, rows)
    untested = len(clips - {row.clip_id for row in rows})
    note = f"; {untested} of them are tested in no fold" if untested else ""
    return f"{dataset.name}: {dataset.folds} folds of {len(clips)} clips in {path.absolute()}{note}"


def show(*parts: Table | Text) -> None:
    """Prints tables and lines, 160 characters wide if the output is not a terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(*parts, sep="\n")


@dataclass(frozen=True)
class DataRow:
    """A data set in the list."""

    name: str
    classes: tuple[str, ...]  # empty if they are those of a user's clips
    licence: str
    folder: str
    clips: int | None  # None if the data set is not on this machine, or cannot be read
    reason: str  # how to get it, or why it cannot be read; empty if it is there
    damaged: bool = False


def data_row(name: str) -> DataRow:
    """Returns the classes of a data set, its licence, and its clips on this machine or where to get it."""
    dataset = build_dataset(name)
    classes: tuple[str, ...] = ()
    clips, reason, damaged = None, "", False
    try:
        classes = tuple(dataset.class_names)
        clips = len(dataset.records())
    except DatasetNotFoundError:
        reason = dataset.how_to_get
    except ValueError as error:  # such as a wrong annotation; the other data sets are listed all the same
        reason, damaged = str(error), True
    return DataRow(name, classes, dataset.licence, str(dataset.folder), clips, reason, damaged)


def list_table(rows: Sequence[DataRow]) -> Table:
    """Lists for each data set its classes, its licence, and its clips on this machine or where to get it."""
    table = Table("data set", "classes", "licence", title="Data sets", title_justify="left", show_lines=True)
    table.add_column("here", overflow="fold")  # so that addresses stay complete
    for row in rows:
        classes = f"{len(row.classes)}: {', '.join(row.classes)}" if row.classes else "those of your clips"
        here = Text(f"{row.clips} clips in {row.folder}", "green")
        if row.clips is None:
            here = Text(row.reason, "red") if row.damaged else Text(f"no: {row.reason}")
        table.add_row(Text(row.name, "bold"), Text(classes), Text(row.licence), here)
    return table


def diagnose(dataset: VideoDataset, workers: int, as_json: bool) -> int:
    """Prints the findings about a copy; returns 1 if one of them makes results wrong, otherwise 0."""
    from data_modules.datasets.doctor import examine

    if as_json:
        with redirect_stdout(sys.stderr):  # progress bars
            diagnosis = examine(dataset, workers)
        print(json.dumps({**asdict(diagnosis), "healthy": diagnosis.healthy}, indent=2))
    else:
        diagnosis = examine(dataset, workers)
        verdict = Text("found nothing that makes results wrong", "green")
        if not diagnosis.healthy:
            verdict = Text("results on this copy are wrong until the findings marked ✗ are fixed", "bold red")
        title = Text(f"{diagnosis.dataset}, fold {diagnosis.fold}: {diagnosis.root}")
        show(title, counts_table(diagnosis), *map(_line, diagnosis.findings), verdict)
    return 0 if diagnosis.healthy else 1


def counts_table(diagnosis: "Diagnosis") -> Table:
    """Counts the clips of each class in each split, beside the published numbers."""
    table = Table("class")
    columns: list[SplitCount] = [*diagnosis.found, *diagnosis.published]
    for count in diagnosis.found:
        table.add_column(Text(count.split), justify="right")
    for count in diagnosis.published:
        table.add_column(f"published: {count.split or 'all'}", justify="right")
    for emotion in (*diagnosis.class_names, *_unknown_labels(diagnosis)):
        table.add_row(Text(emotion), *(_number(count, emotion, count in diagnosis.found) for count in columns))
    table.add_section()
    table.add_row("all", *(str(count.clips) for count in columns))
    return table


def _unknown_labels(diagnosis: "Diagnosis") -> Sequence[str]:
    """Returns the labels that are not in the class list."""
    labels = {emotion for count in diagnosis.found for emotion, _ in count.emotions}
    return sorted(labels - set(diagnosis.class_names))


def _number(count: SplitCount, emotion: str, found: bool) -> str:
    return str(dict(count.emotions).get(emotion, 0 if found else ""))


def _line(finding: "Finding") -> Text:
    mark, style = ("✗", "red") if finding.severity == "wrong" else ("·", "yellow")
    text = Text(f"{mark} {finding.kind}: ", style).append(printable_line(finding.text), "default")
    for clip in finding.clips[:MAX_CLIPS]:
        text.append(f"\n    {printable_line(clip)}", "default")
    if len(finding.clips) > MAX_CLIPS:
        text.append(f"\n    and {len(finding.clips) - MAX_CLIPS} more; --json prints all of them", "default")
    return text
