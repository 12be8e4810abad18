"""`fer faces`: the faces of any videos, aligned as for training: crops, boxes, landmarks, and a picture to look at."""

import argparse
import csv
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jsonargparse import ArgumentParser

from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.face_table import CORNERS
from data_modules.faces.head_pose import ANGLES, head_pose_in_frame
from data_modules.faces.makers import makers
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord, printable
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.prepare.contact_sheet import contact_sheet
from data_modules.prepare.coverage import quarantine
from data_modules.prepare.faces import MISNAMED
from data_modules.prepare.pending import FAILED, TIME_LIMIT, UNREADABLE, pending_clips, prepare_clips
from data_modules.store.clip_file import ClipSummary, Origin
from data_modules.store.clip_store import ClipStore
from data_modules.store.stored_clip import StoredClip
from data_modules.utils.cells import text_of
from data_modules.utils.csv_tables import csv_bytes, write_csv
from data_modules.utils.files import atomic_write
from fer_lightning.predict.video_files import folder_for, shown, videos_of

TABLE, VIDEOS = "faces.csv", "videos.csv"
NOT_MADE = (UNREADABLE, FAILED)


def main(arguments: list[str]) -> int:
    """`fer faces VIDEO...`: 0, or 1 if a video could not be read.

    Raises:
        FileNotFoundError: a folder without any video.
        ValueError: an option makes no sense, or the detector is not installed.
    """
    parser = ArgumentParser(prog="fer faces", description=__doc__, formatter_class=argparse.HelpFormatter)
    parser.add_argument("videos", nargs="+", type=str, metavar="VIDEO", help="file, or folder with videos")
    parser.add_argument("--out", type=str, default="faces", help="folder for the results")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; all cores by default")
    parser.add_class_arguments(FaceSettings, skip={"jitter", "lengthen"})
    given = parser.parse_args(arguments[1:])
    settings = FaceSettings(**{name: given[name] for name in FaceSettings.__dataclass_fields__ if name in given})
    videos, out = videos_of([Path(video) for video in given.videos]), Path(given.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; expected a folder, or a name that is free")
    try:
        return make_faces(videos, out, settings, given.workers)
    except DetectorNotFoundError as error:
        raise ValueError(str(error)) from error


def make_faces(videos: Sequence[Path], out: Path, settings: FaceSettings, workers: int) -> int:
    """Makes the faces of all videos that are not made yet, under these settings; returns 1 if one cannot be read.

    Those of a video that has changed since, and those whose file in the store is damaged, are made again.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ValueError: the folder holds faces made under other settings.
    """
    store = ClipStore.of(out, "store", settings, makers(settings))
    if others := [path.name for path in out.glob("store-*") if path.name != store.folder.name]:
        raise ValueError(
            f"{out} holds faces made under other settings or by other networks ({others[0]}/settings.json); expected "
            "the same, or another --out: they must not mix"
        )
    names = [str(video.resolve()) for video in videos]
    left_out = [printable(name) for name in names if printable(name) != name]
    for name in left_out:
        print(f"{name}: {MISNAMED}")
    records = records_of([video for video, name in zip(videos, names, strict=True) if printable(name) == name], out)
    done = dict[str, ClipSummary]()
    pending = pending_clips(Path.cwd(), settings, records, store, done)
    for record in pending.records:
        discard_export(out / record.clip_id)
    make = partial(ClipPreparer, Path.cwd(), settings, store.folder.absolute())
    prepare_clips(make, pending, store, done, workers, TIME_LIMIT, "faces")
    for record in records:
        summary = done[record.clip_id]
        said = (
            summary.reason
            if summary.reason.startswith(NOT_MADE)
            else export(store.open(record.clip_id), out / record.clip_id)
        )
        print(f"{shown(Path(record.path).name)}: {shown(said)}")
    summaries = [done[record.clip_id] for record in records]
    atomic_write(out / "contact_sheet.jpg", contact_sheet(store, summaries))
    atomic_write(out / "quarantine.csv", quarantine(summaries))
    print(f"to look at: {out / 'contact_sheet.jpg'}; what is wrong with which video: {out / 'quarantine.csv'}")
    return int(bool(left_out) or any(summary.reason.startswith(NOT_MADE) for summary in summaries))


def records_of(videos: Sequence[Path], out: Path) -> list[VideoRecord]:
    """The videos with the names of their folders, which are the same in every call: a table beside them says whose."""
    listed, owners = out / VIDEOS, dict[str, str]()
    if listed.exists():
        with listed.open(newline="", encoding="utf-8") as file:
            owners = {text_of(row["folder"]): text_of(row["video"]) for row in csv.DictReader(file)}
    names = {video: folder for folder, video in owners.items()}
    taken = {out / folder for folder in owners}
    for video in videos:
        path = str(video.resolve())
        names[path] = names.get(path) or folder_for(video, out, taken, lambda folder: None).name
    write_csv(listed, ("folder", "video"), ((folder, video) for video, folder in names.items()))
    return [VideoRecord(names[str(video.resolve())], str(video.resolve()), "") for video in videos]


def discard_export(folder: Path) -> None:
    """Deletes what `export` wrote of a video whose faces are made again: it may show what is not there any more."""
    for path in folder.glob("*.jpg"):
        if path.stem.isdecimal():
            path.unlink()
    (folder / TABLE).unlink(missing_ok=True)


def export(clip: StoredClip, folder: Path) -> str:
    """Writes a clip's crops as JPEGs, named after their frames, and a table of where they were; says what it wrote."""
    summary = clip.summary
    for place, index in enumerate(clip.frame_index.tolist()):
        path = folder / f"{index:06}.jpg"
        if not path.exists():
            picture = cv2.imencode(".jpg", clip.crops([place])[0][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
            atomic_write(path, picture.tobytes())
    atomic_write(folder / TABLE, table(clip))
    origin = clip.optional("origin")
    made = 0 if origin is None else int(np.count_nonzero(origin == Origin.BETWEEN))
    said = f"a face in {summary.num_faces} of {summary.num_frames} frames"
    said += f" ({made} of them between two looks)" if made else ""
    return f"{summary.reason or said}; files in {folder}"


def table(clip: StoredClip) -> bytes:
    """A row for each face: frame, time, box in pixels of the frame, score, head pose, landmarks in pixels of the crop.

    The head pose is that in the frame, in degrees (`data_modules.faces.head_pose`), and empty where it is not known.
    """
    rows = list[tuple[object, ...]]()
    points = clip.optional("landmarks")
    names = [f"crop_{axis}_{i}" for axis in "xyz" for i in range(68)] if points is not None else []
    if len(clip):
        columns = [clip.optional(name) for name in ("box", "score", "origin")]
        box, score, origin = (column for column in columns if column is not None)
        poses = head_pose_in_frame(clip).tolist()
        for i, index in enumerate(clip.frame_index.tolist()):
            numbers = [clip.times[index], *box[i], score[i]]
            further = np.round(points[i].T.ravel(), 2).tolist() if points is not None else []
            found = int(origin[i] == Origin.FOUND)
            angles = ("" if np.isnan(angle) else f"{angle:.2f}" for angle in poses[i])
            rows.append((index, *(f"{number:.4f}" for number in numbers), found, *angles, *further))
    return csv_bytes(("frame", "time", *CORNERS, "score", "found", *ANGLES, *names), rows)
