"""Summarises prepared clips: how many have faces (or audio), by class and split, and why the others have none."""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_modules.manifest import SPLITS, VideoRecord
from data_modules.store.clip_file import ClipSummary
from data_modules.utils.csv_tables import csv_bytes
from data_modules.utils.text import damage, printable_line

SHOWN = 10  # clips that are named in the terminal


def show_coverage(records: Sequence[VideoRecord], summaries: Sequence[ClipSummary], name: str) -> None:
    """Prints a line about all clips, a table of classes and splits, and the first clips without faces.

    Args:
        records: the clips.
        summaries: the summary of each clip.
        name: name of the data set.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    if is_sound_alone(summaries):
        _show_sound(console, records, summaries, name)
        return
    lengthened = f", {count} of them lengthened" if (count := sum(bool(s.num_made) for s in summaries)) else ""
    console.print(Text(f"{name}: {_clips(summaries)}{lengthened}"))
    if audio := _audio(summaries):
        console.print(Text(f"{name}: {audio}"))
    console.print(coverage_table(records, summaries))
    without = [summary for summary in summaries if not summary.num_faces]
    damaged = [summary for summary in summaries if summary.num_faces and _damage(summary)]
    damaged_audio = [summary for summary in summaries if summary.has_damaged_audio]
    _print_reasons(console, {s.clip_id: s.reason for s in without}, "without a face")
    _print_reasons(console, {s.clip_id: _damage(s) for s in damaged}, "of which a part cannot be decoded or is missing")
    _print_reasons(console, {s.clip_id: s.picture_note for s in summaries if s.picture_note}, "with such pictures")
    _print_reasons(console, {s.clip_id: s.audio_reason for s in damaged_audio}, "with a damaged audio track")


def is_sound_alone(summaries: Sequence[ClipSummary]) -> bool:
    """Returns whether no picture of any clip was read, and not because none could be."""
    return any(summary.is_sound_alone for summary in summaries) and not any(s.num_frames for s in summaries)


def _show_sound(console: Console, records: Sequence[VideoRecord], summaries: Sequence[ClipSummary], name: str) -> None:
    """Prints the same about clips of sound alone: how many have audio, and why others have none or not all of it."""
    seconds = [summary.audio for summary in summaries if summary.audio]
    mean = f"; {sum(seconds) / len(seconds):.1f} s on average" if seconds else ""
    console.print(Text(f"{name}: {_audio(summaries) or f'0 of {len(summaries)} clips have audio'}{mean}"))
    console.print(coverage_table(records, summaries, _sound_cell))
    reasons = {s.clip_id: s.reason or s.audio_reason for s in summaries if s.reason or s.audio_reason}
    _print_reasons(console, reasons, "without audio, or with a damaged audio track")


def _print_reasons(console: Console, reasons: dict[str, str], what: str) -> None:
    """Prints the first clips with a problem, and the number of others."""
    for clip_id, reason in list(reasons.items())[:SHOWN]:
        console.print(Text(printable_line(f"  {clip_id}: {reason}")))
    if len(reasons) > SHOWN:
        console.print(Text(f"  and {len(reasons) - SHOWN} more {what}"))


def _clips(summaries: Sequence[ClipSummary]) -> str:
    with_faces, share = _with_faces(summaries)
    return f"{with_faces} of {len(summaries)} clips have faces, in {share:.1f} % of their frames on average"


def _with_faces(summaries: Sequence[ClipSummary]) -> tuple[int, float]:
    """Returns the number of clips with faces, and the mean percentage of their frames that have one."""
    coverage = [summary.coverage for summary in summaries if summary.num_faces]
    return len(coverage), 100 * sum(coverage) / max(len(coverage), 1)


def _audio(summaries: Sequence[ClipSummary]) -> str:
    """Describes how many clips have audio; returns an empty text if no clip has an audio track."""
    audible = sum(summary.audio > 0 for summary in summaries)
    silent = sum(summary.has_silent_audio for summary in summaries)
    damaged = sum(summary.has_damaged_audio for summary in summaries)
    if not audible + silent + damaged:
        return ""
    parts = [f"{audible} of {len(summaries)} clips have audio"]
    parts += [f"{silent} have a silent audio track"] if silent else []
    parts += [f"{damaged} have a damaged audio track"] if damaged else []
    return ", ".join(parts)


def _cell(summaries: Sequence[ClipSummary]) -> str:
    with_faces, share = _with_faces(summaries)
    return f"{with_faces} of {len(summaries)}, {share:.1f} %" if summaries else ""


def _sound_cell(summaries: Sequence[ClipSummary]) -> str:
    return f"{sum(summary.audio > 0 for summary in summaries)} of {len(summaries)}" if summaries else ""


def coverage_table(
    records: Sequence[VideoRecord],
    summaries: Sequence[ClipSummary],
    cell: Callable[[Sequence[ClipSummary]], str] = _cell,
) -> Table:
    """Builds a table with a cell for each class and split: by default the clips with faces and their mean coverage."""
    splits = [split for split in SPLITS if any(record.split == split for record in records)]
    table = Table("class", *splits, "all")
    pairs = list(zip(records, summaries, strict=True))
    for emotion in (*sorted({record.emotion for record in records}), ""):
        row = [(record, summary) for record, summary in pairs if emotion in ("", record.emotion)]
        if not emotion:
            table.add_section()
        cells = [cell([s for record, s in row if split in ("", record.split)]) for split in (*splits, "")]
        table.add_row(Text(emotion or "all"), *cells)
    return table


def _damage(summary: ClipSummary) -> str:
    return damage(summary.broken, summary.missing)


def quarantine(summaries: Sequence[ClipSummary]) -> bytes:
    """Returns a CSV table of the clips with problems; its columns are clip_id and reason."""
    rows = [(summary.clip_id, summary.reason) for summary in summaries if summary.reason]
    rows += [(s.clip_id, _damage(s)) for s in summaries if _damage(s) and not s.reason]
    rows += [(s.clip_id, s.picture_note) for s in summaries if s.picture_note]
    unheard = (s for s in summaries if s.has_damaged_audio or (s.is_sound_alone and not s.audio))
    rows += [(s.clip_id, s.audio_reason) for s in unheard]
    return csv_bytes(("clip_id", "reason"), (map(printable_line, row) for row in rows))
