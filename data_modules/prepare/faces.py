"""From a data set to its store of faces: in parallel, resumable after a kill at any point, in parts on many hosts."""

from collections.abc import Sequence
from functools import partial

from data_modules.datasets.dataset import VideoDataset, store_root
from data_modules.faces.network_versions import UNKNOWN, network_versions
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord, check_records, misnamed, printable
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.prepare.contact_sheet import contact_sheet
from data_modules.prepare.coverage import quarantine, show_coverage
from data_modules.prepare.pending import TIME_LIMIT, pending_clips, prepare_clips, print_names
from data_modules.prepare.shard import WHOLE, Shard
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import NOTE, ClipStore
from data_modules.utils.files import atomic_write, check_writable

MISNAMED = "left out, as the name is not UTF-8; rename the file or folder"


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
        stores = ClipStore.find(store_root(), dataset.store_name, dataset.faces)
        if len(stores) > 1:
            raise ValueError(
                f"{dataset.name}: {' and '.join(store.folder.name for store in stores)} in {store_root()} were made by "
                f"different networks ({NOTE} in them says which), and this machine lacks them; expected one such "
                "folder: move the others away, or install the detector"
            )
        if stores:
            return stores[0]
    return ClipStore.for_settings(store_root(), dataset.store_name, dataset.faces, networks)


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
    every, store = shard.of_records(dataset.records()[:limit]), store_for(dataset)
    records, left_out = [r for r in every if not misnamed(r)], [printable(r.path) for r in every if misnamed(r)]
    print_names(left_out, f"{dataset.name}: {MISNAMED}")
    check_records(records, dataset.name)
    _refuse_impossible(dataset.faces, records, dataset.name)
    done = store.read_index()
    before = dict(done)
    own = {record.clip_id for record in records}
    pending = pending_clips(dataset.folder, dataset.faces, records, store, done)
    if pending.records or done != before or not store.index_path(shard.name).exists():
        check_writable(store.folder)
        _tell_of_earlier_faces(store, dataset)
        make = partial(ClipPreparer, dataset.folder.absolute(), dataset.faces, store.folder.absolute(), device)
        prepare_clips(make, pending, store, done, workers, time_limit, f"{dataset.name}: faces")
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


def _tell_of_earlier_faces(store: ClipStore, dataset: VideoDataset) -> None:
    """Says where faces lie of a version that did not note by which networks they were made."""
    for earlier in ClipStore.find(store_root(), dataset.store_name, dataset.faces)[:1]:
        if store.folder.name.startswith(f"{earlier.folder.name}-") and not store.clip_ids():
            print(
                f"{dataset.name}: the faces in {earlier.folder} are not used: an earlier version made them and did not "
                f"note by which networks. If these were the same, move what is in there to {store.folder}",
                flush=True,
            )


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
