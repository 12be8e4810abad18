"""Prepares the faces of a data set: in parallel, resumable at any point, and optionally in parts on several hosts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from data_modules.datasets.dataset import VideoDataset, store_root
from data_modules.faces.network_versions import UNKNOWN, network_versions
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord, check_records, misnamed, printable
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.prepare.contact_sheet import contact_sheet
from data_modules.prepare.coverage import is_sound_alone, quarantine, show_coverage
from data_modules.prepare.pending import TIME_LIMIT, pending_clips, prepare_clips, print_names
from data_modules.prepare.shard import WHOLE, Shard
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import NOTE, ClipStore, settings_key
from data_modules.utils.file_lock import file_lock
from data_modules.utils.files import atomic_write, check_writable
from data_modules.video.source import DEFAULT_READER, Reader

PATIENCE = 10.0  # seconds in which another process finds that nothing is left to prepare
MISNAMED = "left out, as the name is not UTF-8; rename the file or folder"
MISPLACED = "left out, as the file is in the folder of another person"


def store_for(dataset: VideoDataset) -> ClipStore:
    """Returns the store of a data set's faces.

    It is named after the data set, its folder's name, the settings and the networks' weights. A data set that moves to
    another place keeps its faces. A machine without the networks uses the store that another machine filled, if there
    is only one.

    Raises:
        ValueError: a network is not installed and several stores exist.
    """
    networks = network_versions(dataset.faces)
    if UNKNOWN in networks.values():
        found = ClipStore.find(store_root(), dataset.store_name, dataset.faces)
        stores = [store for store in found if store.read_index()]  # others are of a machine that could make nothing
        if len(stores) > 1:
            raise ValueError(
                f"{dataset.name}: {' and '.join(store.folder.name for store in stores)} in {store_root()} were made by "
                f"different networks ({NOTE} in them says which), and this machine lacks them; expected one such "
                "folder: move the others away, or install the detector"
            )
        if stores:
            return stores[0]
    return ClipStore.for_settings(store_root(), dataset.store_name, dataset.faces, networks)


@contextmanager
def preparing(dataset: VideoDataset) -> Iterator[None]:
    """Lets one process at a time prepare a data set with its settings; the others wait, and find what it made.

    The lock is in the folder of the stores. Machines that share this folder prepare a data set once, others once each.
    """
    lock = store_root() / f"{dataset.store_name}-{settings_key(dataset.faces)}.lock"
    with file_lock(lock, f"{dataset.name} is being prepared by another process; waiting for it", patience=PATIENCE):
        yield


def prepare_faces(
    dataset: VideoDataset,
    workers: int,
    limit: int | None = None,
    shard: Shard = WHOLE,
    time_limit: float = TIME_LIMIT,
    device: str | None = None,
    reader: Reader = DEFAULT_READER,
    thorough: bool = False,
) -> ClipStore:
    """Prepares the faces of all clips of a data set; existing ones are kept, so killed runs can continue.

    Clips whose files have changed are prepared again. Clips without a face and unreadable clips remain in the index,
    with the reason. Clips that failed for a reason outside their file (the process was killed or hung, the disk failed)
    are tried twice, and again in the next call. If any clip was prepared, a list of the clips with problems and a
    contact sheet of some faces are written to the store's folder.

    Args:
        dataset: the data set.
        workers: number of processes; 0 to work in this process.
        limit: prepare only the first clips, at most this number.
        shard: prepare only this part of the clips.
        time_limit: seconds without a heartbeat after which a clip's process is stopped.
        device: device that detectors run on; by default a GPU if available.
        reader: of video files, see `VideoFile`.
        thorough: whether images that were overwritten in the folder of a clip are noticed, too. In large data sets of
            images this takes a minute.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ReaderNotFoundError: the reader is not installed.
        DatasetNotFoundError: the data set does not exist.
        NotWritableError: the store cannot be written to; finished clips are kept.
    """
    dataset.prepare()
    all_records, store = shard.select(dataset.records()[:limit]), store_for(dataset)
    records = [r for r in all_records if not misnamed(r)]
    left_out = dict.fromkeys((printable(r.path) for r in all_records if misnamed(r)), MISNAMED)
    left_out |= dict.fromkeys(dataset.misplaced(), MISPLACED)
    for reason in (MISNAMED, MISPLACED):
        print_names([path for path, why in left_out.items() if why == reason], f"{dataset.name}: {reason}")
    check_records(records, dataset.name)
    _check_annotations(dataset.faces, records, dataset.name)
    done = store.read_index()
    before = dict(done)
    own = {record.clip_id for record in records}
    pending = pending_clips(dataset.folder, dataset.faces, records, store, done, thorough)
    if pending.records or done != before or not store.index_path(shard.name).exists():
        check_writable(store.folder)
        _mention_earlier_store(store, dataset)
        make = partial(
            ClipPreparer, dataset.folder.absolute(), dataset.faces, store.folder.absolute(), device, reader=reader
        )
        what = "faces" if dataset.has_pictures else "audio"
        prepare_clips(make, pending, store, done, workers, time_limit, f"{dataset.name}: {what}")
        _report(store, records, done, dataset.name, shard, left_out)
        # written last: with the index there, nothing of the above is made again
        store.write_index((done[clip_id] for clip_id in sorted(own if shard.name else done)), shard.name)
    return store


def _check_annotations(settings: FaceSettings, records: Sequence[VideoRecord], name: str) -> None:
    needing_truth = [part for part in ("detector", "landmarks", "person") if getattr(settings, part) == "annotation"]
    if needing_truth and records and not any(record.truth for record in records):
        raise ValueError(
            f"{name} has no ground truth, so `{needing_truth[0]}: annotation` has nothing to read; use mtcnn, "
            "insightface or crop as detector, mesh or none as landmarks, frame or none as person"
        )


def _mention_earlier_store(store: ClipStore, dataset: VideoDataset) -> None:
    """Prints where the faces of an earlier version are, which did not record its networks."""
    for earlier in ClipStore.find(store_root(), dataset.store_name, dataset.faces)[:1]:
        if store.folder.name.startswith(f"{earlier.folder.name}-") and not store.clip_ids():
            print(
                f"{dataset.name}: the faces in {earlier.folder} are not used: an earlier version created them and did "
                f"not record its networks. If these were the same, move the files to {store.folder}",
                flush=True,
            )


def _report(
    store: ClipStore,
    records: Sequence[VideoRecord],
    done: dict[str, ClipSummary],
    name: str,
    shard: Shard,
    left_out: Mapping[str, str],
) -> None:
    """Prints a summary of the clips; writes the list of those with problems, and a contact sheet of pictures."""
    summaries = [done[record.clip_id] for record in records]
    suffix = f"-{shard.name}" if shard.name else ""
    problems, sheet = store.folder / f"quarantine{suffix}.csv", store.folder / f"contact_sheet{suffix}.jpg"
    not_prepared = (ClipSummary(path, 0, 0, reason=reason) for path, reason in left_out.items())
    atomic_write(problems, quarantine([*summaries, *not_prepared]))
    show_coverage(records, summaries, name)
    print(f"  all reasons: {problems}")
    if not is_sound_alone(summaries):
        atomic_write(sheet, contact_sheet(store, summaries))
        print(f"  to look at:  {sheet}")
