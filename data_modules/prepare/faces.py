"""From a data set to its store of faces: in parallel, resumable after a kill at any point, in parts on many hosts."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from data_modules.audio.settings import AUDIO_RATE
from data_modules.datasets.dataset import VideoDataset, store_root
from data_modules.faces.extraction import ClipAnnotations, FaceExtractor
from data_modules.faces.face_table import read_face_table, table_of
from data_modules.faces.ground_truth import FrameTruth
from data_modules.faces.makers import UNKNOWN, makers
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord, check_records, misnamed, printable
from data_modules.prepare.contact_sheet import contact_sheet
from data_modules.prepare.coverage import quarantine, show_coverage
from data_modules.prepare.source_files import MISSING, ClipFiles
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import NOTE, ClipStore
from data_modules.store.clip_writer import ClipWriter
from data_modules.store.stored_clip import StoredClip
from data_modules.utils.faults import is_passing
from data_modules.utils.files import atomic_write, check_writable, remove_orphans
from data_modules.utils.pool import Failure, run_in_processes, run_to_end
from data_modules.utils.progress import progress
from data_modules.video.audio_track import open_audio
from data_modules.video.reader import is_video_file, open_clip

TIME_LIMIT = 300.0  # seconds without a sign of life
MISNAMED = "left out, as the name is not UTF-8; rename the file or folder"
SHOWN = 10  # clips that are named
TRIES = 2  # for clips whose process was killed, say
UNREADABLE = "unreadable: "  # because of what the file holds: tried again when it has changed
FAILED = "failed for now: "  # because of memory, disk, time, ...: tried again the next time
DAMAGED = "sound unreadable: "


@dataclass(frozen=True)
class Shard:
    """A part of a data set: of every `of` clips one, beginning with the `number`-th."""

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"shard {self.number}/{self.of}: expected i/n with 1 <= i <= n, such as 1/4 to 4/4")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From `i/n`.

        Raises:
            ValueError: it is no such thing.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise ValueError(f"shard {text!r}: expected i/n with 1 <= i <= n, such as 1/4")
        return cls(int(number), int(of))

    @property
    def name(self) -> str:
        """Such as `2-of-8`; empty for the whole."""
        return "" if self.of == 1 else f"{self.number}-of-{self.of}"

    def of_records(self, records: Sequence[VideoRecord]) -> list[VideoRecord]:
        """Its clips."""
        return list(records[self.number - 1 :: self.of])


WHOLE = Shard()


class ClipPreparer:
    """Makes one clip's file in the store; its networks are loaded once.

    Args:
        folder: of the clips.
        settings: how faces are made.
        store: folder of the store.
        device: where the networks run; by default a GPU where there is one.
        threads: frames that a detector looks at at a time, on a processor.

    Raises:
        DetectorNotFoundError: a package or weights are missing.
    """

    def __init__(
        self, folder: Path, settings: FaceSettings, store: Path, device: str | None = None, threads: int = 1
    ) -> None:
        self._folder, self._settings, self._store = folder, settings, ClipStore(store)
        self._extractor = FaceExtractor(settings, device, threads)
        self.description = self._extractor.models.description

    def __call__(self, record: VideoRecord) -> Generator[float, None, ClipSummary]:
        """Reads the clip, writes its file; yields how far it is.

        Raises:
            UnreadableVideoError: its frames cannot be had.
            ValueError: an annotation is missing or does not fit.
            OSError: the disk does not give the file's bytes.
            NotWritableError: the store takes no more files.
        """
        yield 0.0
        files = ClipFiles.of(self._folder, record, self._settings)
        stamp = files.stamp  # before it is read: what is written meanwhile counts as a change
        content = "" if MISSING in stamp else (yield from files.content())
        source = open_clip(self._folder, record)
        annotations = self._annotations(record, (source.width, source.height))
        locations = yield from self._extractor.locate(source, annotations)
        with self._store.writing(record.clip_id) as writer:
            faces = 0
            for face in self._extractor.crop(source, locations, annotations):
                writer.add(face)
                faces += 1
                yield (1 + face.index / source.num_frames) / 2
            audio_reason = self._add_audio(record, writer)
            count = source.num_frames
            reason = "" if faces else f"no face found in {count} frame{'s' * (count != 1)}"
            summary = ClipSummary(
                record.clip_id,
                count,
                faces,
                source.fps,
                reason,
                broken=source.broken,
                width=source.width,
                height=source.height,
                audio_reason=audio_reason,
                source=stamp,
                content=content,
            )
            return writer.finish(summary, source.timestamps)

    def _annotations(self, record: VideoRecord, size: tuple[int, int]) -> ClipAnnotations:
        wants_table = "table" in (self._settings.detector, self._settings.landmarks)
        path = table_of(self._folder, record) if wants_table else None
        return ClipAnnotations(
            record.clip_id,
            FrameTruth.load(self._folder / record.truth) if record.truth else None,
            read_face_table(path, size) if path else None,
        )

    def _add_audio(self, record: VideoRecord, writer: ClipWriter) -> str:
        """Writes the clip's sound; returns what is wrong with it. A damaged sound is none, and costs no picture."""
        path = self._folder / record.path
        if not self._settings.audio or not is_video_file(path):
            return ""
        try:
            track = open_audio(path, AUDIO_RATE)
            for block in track or ():
                writer.add_audio(np.round(block * 32767).astype(np.int16))
        except Exception as error:  # whatever a damaged track brings a decoder to: the pictures are made already
            if is_passing(error):
                raise
            writer.discard_audio()
            return " ".join(f"{DAMAGED}{str(error) or type(error).__name__}".split())
        wrong = []
        if track and track.broken:
            wrong.append(f"{track.broken} of {track.packets} packets of its sound do not decode")
        if track and track.not_numbers:
            wrong.append(f"{track.not_numbers} samples of its sound are no numbers; silence stands for them")
        return "; ".join(wrong)


def store_of(dataset: VideoDataset) -> ClipStore:
    """Where the data set's faces are: named after the set, its folder's name, the settings, and networks' weights.

    Two synthetic sets lie in folders of different names and share nothing; a set that moves keeps its faces. A machine
    that lacks a network takes the faces that another one made, if there is no choice.

    Raises:
        ValueError: there is one.
    """
    made_by = makers(dataset.faces)
    if UNKNOWN in made_by.values():
        found = ClipStore.found(store_root(), dataset.store_name, dataset.faces)
        if len(found) > 1:
            raise ValueError(
                f"{dataset.name}: {' and '.join(store.folder.name for store in found)} in {store_root()} were made by "
                f"different networks ({NOTE} in them says which), and this machine lacks them; expected one such "
                "folder: move the others away, or install the detector"
            )
        if found:
            return found[0]
    return ClipStore.of(store_root(), dataset.store_name, dataset.faces, made_by)


def prepare_faces(
    dataset: VideoDataset,
    workers: int,
    limit: int | None = None,
    shard: Shard = WHOLE,
    time_limit: float = TIME_LIMIT,
    device: str | None = None,
) -> ClipStore:
    """Makes the faces of all clips of a data set; what is there already stays, so a killed run goes on where it was.

    A clip whose files have changed since is made again. A clip without a face and one that cannot be read stay in the
    index, with the reason. A clip that failed for a reason outside of its file - its process was killed or gave no
    sign of life, the disk did not answer - is tried twice, and again in the next call. When something was made, the
    store's folder gets a list of the clips that something is wrong with, and a picture of some faces.

    Args:
        dataset: whose clips.
        workers: number of processes; 0 for none besides this one.
        limit: only the first so many clips.
        shard: only this part of them.
        time_limit: seconds without a sign of life after which a clip's process is stopped.
        device: where detectors run; by default a GPU where there is one.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        DatasetNotFoundError: the data set is not there.
        NotWritableError: the store takes no more files; what was made stays.
    """
    dataset.prepare()
    every, store = shard.of_records(dataset.records()[:limit]), store_of(dataset)
    records, left_out = [r for r in every if not misnamed(r)], [printable(r.path) for r in every if misnamed(r)]
    _name(left_out, f"{dataset.name}: {MISNAMED}")
    check_records(records, dataset.name)
    _refuse_impossible(dataset.faces, records, dataset.name)
    done = store.read_index()
    before = dict(done)
    own = {record.clip_id for record in records}
    files = {record.clip_id: ClipFiles.of(dataset.folder, record, dataset.faces) for record in records}
    stamps = {clip_id: clip.stamp for clip_id, clip in files.items()}
    todo = _to_do(records, store, done, files, stamps)
    if todo or done != before or not store.index_path(shard.name).exists():
        check_writable(store.folder)
        _tell_of_earlier_faces(store, dataset)
        store.discard(record.clip_id for record in todo)
        remove_orphans(store.folder)
        make = partial(ClipPreparer, dataset.folder.absolute(), dataset.faces, store.folder.absolute(), device)
        work_through(make, todo, done, min(workers, len(todo)), time_limit, f"{dataset.name}: faces")
        for clip_id in (record.clip_id for record in todo):
            if not done[clip_id].source:  # it failed; of the others their files say what they were made of
                done[clip_id] = replace(done[clip_id], source=stamps[clip_id])
        store.write_index((done[clip_id] for clip_id in sorted(own if shard.name else done)), shard.name)
        _describe(store, records, done, dataset.name, shard, left_out)
    return store


def _refuse_impossible(settings: FaceSettings, records: Sequence[VideoRecord], name: str) -> None:
    wanted = [part for part in ("detector", "landmarks", "person") if getattr(settings, part) == "annotation"]
    if wanted and records and not any(record.truth for record in records):
        raise ValueError(
            f"{name} has no ground truth, so `{wanted[0]}: annotation` has nothing to read; use mtcnn, insightface or "
            "crop as detector, mesh or none as landmarks, frame or none as person"
        )


def _to_do(
    records: Sequence[VideoRecord],
    store: ClipStore,
    done: dict[str, ClipSummary],
    files: Mapping[str, ClipFiles],
    stamps: Mapping[str, str],
) -> list[VideoRecord]:
    """The clips to be made; completes `done` by clips that a killed run made before it wrote the index, and by stamps.

    Earlier versions noted no stamp: what they made counts as unchanged. They took every failure for an unreadable file,
    so what they did not make is tried again.
    """
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
    _name(changed, "clips that have changed since their faces were made, which are made again")
    _name(damaged, f"damaged files in {store.folder}, which are made again")
    return todo


def _name(clip_ids: Sequence[str], what: str) -> None:
    if clip_ids:
        print(f"{what}: {', '.join(clip_ids[:SHOWN])}{', ...' * (len(clip_ids) > SHOWN)}", flush=True)


def _tell_of_earlier_faces(store: ClipStore, dataset: VideoDataset) -> None:
    """Says where faces lie of a version that did not note by which networks they were made."""
    for earlier in ClipStore.found(store_root(), dataset.store_name, dataset.faces)[:1]:
        if store.folder.name.startswith(f"{earlier.folder.name}-") and not store.clip_ids():
            print(
                f"{dataset.name}: the faces in {earlier.folder} are not used: an earlier version made them and did not "
                f"note by which networks. If these were the same, move what is in there to {store.folder}",
                flush=True,
            )


def work_through(
    make: partial[ClipPreparer],
    todo: Sequence[VideoRecord],
    done: dict[str, ClipSummary],
    workers: int,
    time_limit: float,
    what: str,
) -> None:
    """Prepares the clips, adds their summaries to `done`, and shows how far it is."""
    shares: dict[str, float] = {}  # of the clips that are being worked on
    finished, said = 0, set[str]()
    with progress(what, len(todo)) as advance:

        def ready(description: str) -> None:
            if description and description not in said:
                said.add(description)
                print(description, flush=True)

        def watch(record: VideoRecord, share: float) -> None:
            shares[record.clip_id] = share
            advance(finished + sum(shares.values()))

        for record, result in run_in_processes(make, todo, workers, time_limit, watch, ready, TRIES):
            shares.pop(record.clip_id, None)
            finished += 1
            if isinstance(result, Failure):
                reason = " ".join(f"{FAILED if result.passing else UNREADABLE}{result.reason}".split())
                done[record.clip_id] = ClipSummary(record.clip_id, 0, 0, 0.0, reason)
            else:
                done[record.clip_id] = result
            advance(finished + sum(shares.values()))


def _describe(
    store: ClipStore,
    records: Sequence[VideoRecord],
    done: dict[str, ClipSummary],
    name: str,
    shard: Shard,
    left_out: Sequence[str],
) -> None:
    """Prints what came of the clips; writes the list of those with something wrong, and a picture of some."""
    summaries = [done[record.clip_id] for record in records]
    suffix = f"-{shard.name}" if shard.name else ""
    listed, sheet = store.folder / f"quarantine{suffix}.csv", store.folder / f"contact_sheet{suffix}.jpg"
    atomic_write(listed, quarantine([*summaries, *(ClipSummary(path, 0, 0, reason=MISNAMED) for path in left_out)]))
    atomic_write(sheet, contact_sheet(store, summaries))
    show_coverage(records, summaries, name)
    print(f"  all reasons: {listed}\n  to look at:  {sheet}")
