"""What came of preparing clips: how many have faces, of each class and split, and why the others have none."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_modules.manifest import SPLITS, VideoRecord
from data_modules.store.clip_file import SILENT, ClipSummary
from data_modules.utils.csv_tables import csv_bytes

SHOWN = 10  # clips that are named in the terminal


def show_coverage(records: Sequence[VideoRecord], summaries: Sequence[ClipSummary], name: str) -> None:
    """Prints a line about all clips, a table of classes and splits, and the first clips without faces.

    Args:
        records: the clips.
        summaries: what came of each.
        name: of the data set.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    made = f", {count} of them lengthened" if (count := sum(bool(s.num_made) for s in summaries)) else ""
    console.print(Text(f"{name}: {_clips(summaries)}{made}"))
    if heard := _heard(summaries):
        console.print(Text(f"{name}: {heard}"))
    console.print(coverage_table(records, summaries))
    without = [summary for summary in summaries if not summary.num_faces]
    broken = [summary for summary in summaries if summary.num_faces and summary.broken]
    missing_audio = [summary for summary in summaries if _damaged(summary)]
    _name(console, {s.clip_id: s.reason for s in without}, "without a face")
    _name(console, {s.clip_id: _broken(s) for s in broken}, "with packets or images that do not decode")
    _name(console, {s.clip_id: s.audio_reason for s in missing_audio}, "with a damaged sound track")


def _name(console: Console, reasons: dict[str, str], what: str) -> None:
    """Prints the first clips that something is wrong with."""
    for clip_id, reason in list(reasons.items())[:SHOWN]:
        console.print(Text(f"  {clip_id}: {reason}"))
    if len(reasons) > SHOWN:
        console.print(Text(f"  and {len(reasons) - SHOWN} more {what}"))


def _clips(summaries: Sequence[ClipSummary]) -> str:
    there = [summary for summary in summaries if summary.num_faces]
    share = 100 * sum(summary.coverage for summary in there) / max(len(there), 1)
    return f"{len(there)} of {len(summaries)} clips have faces, in {share:.1f} % of their frames on average"


def _heard(summaries: Sequence[ClipSummary]) -> str:
    """How many clips have sound; empty where no clip has a sound track."""
    heard = sum(summary.audio > 0 for summary in summaries)
    silent = sum(summary.audio_reason == SILENT for summary in summaries)
    damaged = sum(map(_damaged, summaries))
    if not heard + silent + damaged:
        return ""
    parts = [f"{heard} of {len(summaries)} clips have sound"]
    parts += [f"{silent} have a silent sound track"] if silent else []
    parts += [f"{damaged} have a damaged one"] if damaged else []
    return ", ".join(parts)


def _damaged(summary: ClipSummary) -> bool:
    return summary.audio_reason not in ("", SILENT)


def coverage_table(records: Sequence[VideoRecord], summaries: Sequence[ClipSummary]) -> Table:
    """Clips with faces of all clips, and the mean share of their frames, for each class and split."""
    splits = [split for split in SPLITS if any(record.split == split for record in records)]
    table = Table("class", *splits, "all")
    pairs = list(zip(records, summaries, strict=True))
    for emotion in (*sorted({record.emotion for record in records}), ""):
        row = [(record, summary) for record, summary in pairs if emotion in ("", record.emotion)]
        if not emotion:
            table.add_section()
        cells = [_cell([s for record, s in row if split in ("", record.split)]) for split in (*splits, "")]
        table.add_row(Text(emotion or "all"), *cells)
    return table


def _cell(summaries: Sequence[ClipSummary]) -> str:
    there = [summary for summary in summaries if summary.num_faces]
    share = 100 * sum(summary.coverage for summary in there) / max(len(there), 1)
    return f"{len(there)} of {len(summaries)}, {share:.1f} %" if summaries else ""


def _broken(summary: ClipSummary) -> str:
    return f"{summary.broken} packets or images that do not decode"


def quarantine(summaries: Sequence[ClipSummary]) -> bytes:
    """A table of the clips that something is wrong with, and what: CSV with the columns clip_id and reason."""
    rows = [(summary.clip_id, summary.reason) for summary in summaries if summary.reason]
    rows += [(s.clip_id, _broken(s)) for s in summaries if s.broken and not s.reason]
    rows += [(s.clip_id, s.audio_reason) for s in summaries if _damaged(s)]
    return csv_bytes(("clip_id", "reason"), rows)
