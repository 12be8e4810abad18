"""Finds the clips that have to be prepared (new, changed, damaged or failed before) and prepares them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.prepare.source_files import MISSING, ClipFiles, without_images
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.store.stored_clip import StoredClip
from data_modules.utils.files import remove_orphans
from data_modules.utils.pool import Failure, run_in_processes, run_to_end
from data_modules.utils.progress import progress
from data_modules.utils.text import printable_line

TIME_LIMIT = 300.0  # seconds without a heartbeat
SHOWN = 10  # clips that are listed in a message
TRIES = 2  # attempts for clips whose failure may pass
UNREADABLE = "unreadable: "  # because of the file's content: tried again when it has changed
FAILED = "failed for now: "  # because of memory, disk, time, ...: tried again in the next run


@dataclass(frozen=True)
class PendingClips:
    """The clips that have to be prepared, and the stamps of all clips' files."""

    records: list[VideoRecord]
    stamps: Mapping[str, str]  # clip id -> stamp of its files, of all clips


def pending_clips(
    folder: Path,
    settings: FaceSettings,
    records: Sequence[VideoRecord],
    store: ClipStore,
    done: dict[str, ClipSummary],
    thorough: bool = False,
) -> PendingClips:
    """Returns the clips to prepare: new, changed, damaged in the store, or failed for reasons that may have passed.

    Adds to `done` the clips that a killed run prepared before it wrote the index, and updates stamps.

    Earlier versions recorded no stamps; their clips count as unchanged. They also took every failure for an unreadable
    file, so failed clips of theirs are tried again.

    Args:
        folder: root of the data set.
        settings: how faces are extracted.
        records: records of all clips.
        store: the store of the faces.
        done: summaries of earlier runs by clip id.
        thorough: whether images that were overwritten in a folder count as a change, see `ClipFiles.thorough_stamp`.
    """
    files = {record.clip_id: ClipFiles.from_record(folder, record, settings) for record in records}
    stamps = {clip_id: clip.thorough_stamp if thorough else clip.stamp for clip_id, clip in files.items()}
    stored, pending, changed, damaged = store.clip_ids(), list[VideoRecord](), list[str](), list[str]()
    for record in records:
        clip_id, stamp = record.clip_id, stamps[record.clip_id]
        if clip_id in stored and not store.is_whole(clip_id):
            stored.remove(clip_id)
            damaged.append(clip_id)
        if clip_id in stored and clip_id not in done:
            done[clip_id] = StoredClip(store.path(clip_id)).summary
        previous = done.get(clip_id)
        known = "" if previous is None else previous.source if thorough else without_images(previous.source)
        if previous is None or previous.reason.startswith(FAILED):
            pending.append(record)
        elif previous.reason.startswith(UNREADABLE):
            if known != stamp:
                pending.append(record)
        elif clip_id not in stored:
            pending.append(record)
        elif known != stamp and MISSING not in stamp:  # keep the faces of a video that was deleted
            if previous.source and previous.content != run_to_end(files[clip_id].content()):
                changed.append(clip_id)
                pending.append(record)
            else:
                done[clip_id] = replace(previous, source=stamp)
    print_names(changed, "clips that have changed since they were prepared and are prepared again")
    print_names(damaged, f"damaged files in {store.folder}, which are created again")
    return PendingClips(pending, stamps)


def print_names(clip_ids: Sequence[str], what: str) -> None:
    """Prints the first of some clips after a description of them."""
    if clip_ids:
        print(printable_line(f"{what}: {', '.join(clip_ids[:SHOWN])}{', ...' * (len(clip_ids) > SHOWN)}"), flush=True)


def describe_once() -> Callable[[str], None]:
    """Returns a function that prints a description, which each of several processes sends, when it first comes."""

    @cache
    def show(description: str) -> None:
        if description:
            print(description, flush=True)

    return show


def prepare_clips(
    make: partial[ClipPreparer],
    pending: PendingClips,
    store: ClipStore,
    done: dict[str, ClipSummary],
    workers: int,
    time_limit: float,
    what: str,
) -> None:
    """Prepares clips, adds their summaries to `done`, and shows the progress.

    Args:
        make: creates the function that prepares a clip, once in each process.
        pending: the clips to prepare.
        store: the store that they are written to; their old files are deleted first.
        done: summaries by clip id, which are updated.
        workers: maximum number of processes; 0 to work in this process.
        time_limit: seconds without a heartbeat after which a clip's process is stopped.
        what: title of the progress bar.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ReaderNotFoundError: the reader of videos is not installed.
        NotWritableError: the store cannot be written to; finished clips are kept.
    """
    store.discard(record.clip_id for record in pending.records)
    remove_orphans(store.folder)
    shares: dict[str, float] = {}  # progress of the clips in work
    finished = 0
    with progress(what, len(pending.records)) as advance:

        def watch(record: VideoRecord, share: float) -> None:
            shares[record.clip_id] = share
            advance(finished + sum(shares.values()))

        processes, ready = min(workers, len(pending.records)), describe_once()
        for record, result in run_in_processes(make, pending.records, processes, time_limit, watch, ready, TRIES):
            shares.pop(record.clip_id, None)
            finished += 1
            if isinstance(result, Failure):
                reason = " ".join(f"{FAILED if result.passing else UNREADABLE}{result.reason}".split())
                stamp = pending.stamps[record.clip_id]
                done[record.clip_id] = ClipSummary(record.clip_id, 0, 0, 0.0, reason, source=stamp)
            else:
                done[record.clip_id] = result
            advance(finished + sum(shares.values()))
