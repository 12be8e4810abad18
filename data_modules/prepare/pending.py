"""Which clips are to be prepared - new, changed, damaged or failed before - and the preparing of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.prepare.source_files import MISSING, ClipFiles
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.store.stored_clip import StoredClip
from data_modules.utils.files import remove_orphans
from data_modules.utils.pool import Failure, run_in_processes, run_to_end
from data_modules.utils.progress import progress

TIME_LIMIT = 300.0  # seconds without a sign of life
SHOWN = 10  # clips that are named
TRIES = 2  # for clips whose process was killed, say
UNREADABLE = "unreadable: "  # because of what the file holds: tried again when it has changed
FAILED = "failed for now: "  # because of memory, disk, time, ...: tried again the next time


@dataclass(frozen=True)
class PendingClips:
    """The clips that are to be prepared, and what all clips' files look like now."""

    records: list[VideoRecord]
    stamps: Mapping[str, str]  # clip id -> `ClipFiles.stamp`, of all clips


def pending_clips(
    folder: Path, settings: FaceSettings, records: Sequence[VideoRecord], store: ClipStore, done: dict[str, ClipSummary]
) -> PendingClips:
    """The clips to be made: new, changed, damaged in the store, or failed before for reasons that may have passed.

    Completes `done` by clips that a killed run made before it wrote the index, and by stamps.

    Earlier versions noted no stamp: what they made counts as unchanged. They took every failure for an unreadable file,
    so what they did not make is tried again.

    Args:
        folder: of the clips.
        settings: how faces are made.
        records: of all clips.
        store: where the faces go.
        done: clip id -> what came of it before.
    """
    files = {record.clip_id: ClipFiles.from_record(folder, record, settings) for record in records}
    stamps = {clip_id: clip.stamp for clip_id, clip in files.items()}
    stored, todo, changed, damaged = store.clip_ids(), list[VideoRecord](), list[str](), list[str]()
    for record in records:
        clip_id, stamp = record.clip_id, stamps[record.clip_id]
        if clip_id in stored and not store.is_whole(clip_id):
            stored.remove(clip_id)
            damaged.append(clip_id)
        if clip_id in stored and clip_id not in done:
            done[clip_id] = StoredClip(store.path(clip_id)).summary
        known = done.get(clip_id)
        if known is None or known.reason.startswith(FAILED):
            todo.append(record)
        elif known.reason.startswith(UNREADABLE):
            if known.source != stamp:
                todo.append(record)
        elif clip_id not in stored:
            todo.append(record)
        elif known.source != stamp and MISSING not in stamp:  # the faces of a video that is gone stay
            if known.source and known.content != run_to_end(files[clip_id].content()):
                changed.append(clip_id)
                todo.append(record)
            else:
                done[clip_id] = replace(known, source=stamp)
    print_names(changed, "clips that have changed since their faces were made, which are made again")
    print_names(damaged, f"damaged files in {store.folder}, which are made again")
    return PendingClips(todo, stamps)


def print_names(clip_ids: Sequence[str], what: str) -> None:
    """Prints the first of some clips, and what they have in common."""
    if clip_ids:
        print(f"{what}: {', '.join(clip_ids[:SHOWN])}{', ...' * (len(clip_ids) > SHOWN)}", flush=True)


def prepare_clips(
    make: partial[ClipPreparer],
    pending: PendingClips,
    store: ClipStore,
    done: dict[str, ClipSummary],
    workers: int,
    time_limit: float,
    what: str,
) -> None:
    """Prepares the clips anew, adds their summaries to `done`, and shows how far it is.

    Args:
        make: makes what prepares a clip, once in each process.
        pending: the clips.
        store: where their files go; what it holds of them is deleted before.
        done: clip id -> what came of it.
        workers: number of processes at most; 0 for none besides this one.
        time_limit: seconds without a sign of life after which a clip's process is stopped.
        what: the title of the bar that shows how far it is.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        NotWritableError: the store takes no more files; what was made stays.
    """
    store.discard(record.clip_id for record in pending.records)
    remove_orphans(store.folder)
    shares: dict[str, float] = {}  # of the clips that are being worked on
    finished, said = 0, set[str]()
    with progress(what, len(pending.records)) as advance:

        def ready(description: str) -> None:
            if description and description not in said:
                said.add(description)
                print(description, flush=True)

        def watch(record: VideoRecord, share: float) -> None:
            shares[record.clip_id] = share
            advance(finished + sum(shares.values()))

        processes = min(workers, len(pending.records))
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
