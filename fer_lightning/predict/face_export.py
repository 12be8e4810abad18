"""Exports the faces of videos, aligned as for training, with boxes, landmarks and a contact sheet."""

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from data_modules.faces.face_table import CORNERS
from data_modules.faces.head_pose import ANGLES, head_pose_in_frame
from data_modules.faces.network_versions import network_versions
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
from data_modules.utils.text import damage, printable_line
from data_modules.video.source import DEFAULT_READER, Reader
from fer_lightning.predict.video_files import output_folder, true_path

TABLE, VIDEOS = "faces.csv", "videos.csv"
NOT_MADE = (UNREADABLE, FAILED)


def make_faces(
    videos: Sequence[Path], out: Path, settings: FaceSettings, workers: int, reader: Reader = DEFAULT_READER
) -> int:
    """Extracts the faces of all videos that do not have them yet; returns 1 if a video cannot be read, else 0.

    Faces are extracted again if the video has changed since, or if their file in the store is damaged.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ReaderNotFoundError: the reader of videos is not installed.
        ValueError: the folder holds faces with other settings.
    """
    store = ClipStore.for_settings(out, "store", settings, network_versions(settings))
    if others := [path.name for path in out.glob("store-*") if path.name != store.folder.name]:
        raise ValueError(
            f"{out} holds faces with other settings or of other networks ({others[0]}/settings.json); use the same "
            "settings, or another --out: they must not be mixed"
        )
    names = [str(true_path(video)) for video in videos]
    left_out = [printable(name) for name in names if printable(name) != name]
    for name in left_out:
        print(f"{name}: {MISNAMED}")
    records = video_records([video for video, name in zip(videos, names, strict=True) if printable(name) == name], out)
    done = dict[str, ClipSummary]()
    pending = pending_clips(Path.cwd(), settings, records, store, done)
    for record in pending.records:
        discard_export(out / record.clip_id)
    make = partial(ClipPreparer, Path.cwd(), settings, store.folder.absolute(), reader=reader)
    prepare_clips(make, pending, store, done, workers, TIME_LIMIT, "faces")
    for record in records:
        summary = done[record.clip_id]
        failed = summary.reason.startswith(NOT_MADE)
        text = summary.reason if failed else export(store.open(record.clip_id), out / record.clip_id)
        print(f"{printable_line(Path(record.path).name)}: {printable_line(text)}")
    summaries = [done[record.clip_id] for record in records]
    atomic_write(out / "contact_sheet.jpg", contact_sheet(store, summaries))
    atomic_write(out / "quarantine.csv", quarantine(summaries))
    print(f"contact sheet: {out / 'contact_sheet.jpg'}; problems of each video: {out / 'quarantine.csv'}")
    return int(bool(left_out) or any(summary.reason.startswith(NOT_MADE) for summary in summaries))


def video_records(videos: Sequence[Path], out: Path) -> list[VideoRecord]:
    """Returns a record for each video, named after its folder; `videos.csv` keeps the names the same in every call."""
    index, owners = out / VIDEOS, dict[str, str]()
    if index.exists():
        with index.open(newline="", encoding="utf-8") as file:
            owners = {text_of(row["folder"]): text_of(row["video"]) for row in csv.DictReader(file)}
    names = {video: folder for folder, video in owners.items()}
    taken = {out / folder for folder in owners}
    for video in videos:
        path = str(true_path(video))
        names[path] = names.get(path) or output_folder(video, out, taken, lambda folder: None).name
    write_csv(index, ("folder", "video"), ((folder, video) for video, folder in names.items()))
    return [VideoRecord(names[str(true_path(video))], str(true_path(video)), "") for video in videos]


def discard_export(folder: Path) -> None:
    """Deletes what `export` wrote for a video whose faces are extracted again: it may be out of date."""
    for path in folder.glob("*.jpg"):
        if path.stem.isdecimal():
            path.unlink()
    (folder / TABLE).unlink(missing_ok=True)


def export(clip: StoredClip, folder: Path) -> str:
    """Writes a clip's crops as JPEG files named after their frames, and their table; returns what it wrote, as text."""
    summary = clip.summary
    for position, index in enumerate(clip.frame_index.tolist()):
        path = folder / f"{index:06}.jpg"
        if not path.exists():
            picture = cv2.imencode(".jpg", clip.crops([position])[0][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
            atomic_write(path, picture.tobytes())
    atomic_write(folder / TABLE, table(clip))
    origin = clip.optional("origin")
    interpolated = 0 if origin is None else int(np.count_nonzero(origin == Origin.TRACKED))
    text = f"a face in {summary.num_faces} of {summary.num_frames} frames"
    text += f" ({interpolated} of them interpolated between detections)" if interpolated else ""
    damaged = damage(summary.broken, summary.missing)
    return "; ".join(filter(None, (summary.reason or text, damaged, summary.picture_note, f"files in {folder}")))


def table(clip: StoredClip) -> bytes:
    """Returns a table with a row for each face: frame, time, box, score, whether it was detected, head pose, landmarks.

    The box is in pixels of the frame, landmarks are in pixels of the crop. The head pose is relative to the frame, in
    degrees (`data_modules.faces.head_pose`), and empty if unknown.
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
            landmarks = np.round(points[i].T.ravel(), 2).tolist() if points is not None else []
            detected = int(origin[i] == Origin.DETECTED)
            angles = ("" if np.isnan(angle) else f"{angle:.2f}" for angle in poses[i])
            rows.append((index, *(f"{number:.4f}" for number in numbers), detected, *angles, *landmarks))
    return csv_bytes(("frame", "time", *CORNERS, "score", "found", *ANGLES, *names), rows)
