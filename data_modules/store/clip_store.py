"""The store of a data set's face crops: a folder with one file per clip, named after the settings."""

import csv
import glob
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, fields, is_dataclass
from itertools import count, takewhile
from pathlib import Path

from data_modules.store.clip_file import FORMAT, ClipSummary, FaceFrame
from data_modules.store.clip_writer import ClipWriter
from data_modules.store.stored_clip import StoredClip
from data_modules.store.tensor_file import METADATA, read_header, tensor_file
from data_modules.utils.csv_tables import write_csv
from data_modules.utils.files import atomic_write, flush_disks, is_temporary
from data_modules.utils.paths import safe_relative

SUFFIX = ".safetensors"
NOTE = "settings.json"  # in the store's folder: its settings and networks
AUDIO, FEATURES = "audio", "features"  # in the store's folder: what is computed from clips
DERIVED = (f"{AUDIO}/*", f"{FEATURES}/*/*")  # folders with one file per clip that is derived from the crops
KINDS: dict[str, type] = {field.name: field.type for field in fields(ClipSummary)}  # type: ignore[misc]


def clip_path(folder: Path, clip_id: str) -> Path:
    """Returns the path of a clip's file in a folder.

    Raises:
        ValueError: the clip id points outside the folder.
    """
    if not safe_relative(clip_id):
        raise ValueError(f"clip id {clip_id!r} points outside the store; expected a relative name without `..`")
    return folder / f"{clip_id}{SUFFIX}"


def settings_key(settings: object) -> str:
    """Returns a short key for a dataclass of settings; it differs if any value differs.

    A part that is a dataclass of its own counts where it differs from its default: stores keep their names when the
    settings get such a part.
    """
    content = asdict(settings)  # type: ignore[call-overload]
    for each in fields(settings):  # type: ignore[arg-type]
        if is_dataclass(each.default) and getattr(settings, each.name) == each.default:
            del content[each.name]
    return _key(content)


def _key(content: Mapping[str, object]) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(f"{FORMAT} {text}".encode()).hexdigest()[:10]


class ClipStore:
    """A folder with the faces of a data set's clips for one combination of settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def for_settings(
        cls, root: Path, dataset: str, settings: object, networks: Mapping[str, str] | None = None
    ) -> "ClipStore":
        """Returns the store of a data set's faces for these settings and networks, and creates its folder.

        The folder's name depends on both; a note in it (`settings.json`) lists them.

        Args:
            root: the folder of all stores.
            dataset: the data set's name.
            settings: a dataclass of settings.
            networks: the version or checksum of each network that finds faces, landmarks or persons, as
                `faces.network_versions` returns them; none if no network is used.

        Raises:
            NotWritableError: `root` cannot be written to.
        """
        note: dict[str, object] = asdict(settings)  # type: ignore[call-overload]
        name = f"{dataset}-{settings_key(settings)}"
        if networks:
            note, name = note | {"made_by": dict(networks)}, f"{name}-{_key(dict(networks))}"
        store = cls(root / name)
        path = store.folder / NOTE
        if not path.exists():
            atomic_write(path, json.dumps(note, indent=2, default=str).encode())
        return store

    @classmethod
    def find(cls, root: Path, dataset: str, settings: object) -> list["ClipStore"]:
        """Returns the existing stores of a data set's faces for these settings, for any networks."""
        name = glob.escape(f"{dataset}-{settings_key(settings)}")
        return [cls(path) for path in sorted([*root.glob(name), *root.glob(f"{name}-*")]) if path.is_dir()]

    def path(self, clip_id: str) -> Path:
        """Returns the path of the clip's file, which need not exist.

        Raises:
            ValueError: the clip id points outside the store.
        """
        return clip_path(self.folder, clip_id)

    @staticmethod
    def name_of(clip_id: str, person: int) -> str:
        """Returns the name of the file of a person of a clip, counted from 1; the first has the clip's own name."""
        return clip_id if person == 1 else f"{clip_id}.person{person}"

    def everybody(self, clip_id: str) -> list[str]:
        """Returns the names of the files of each person of a clip; the first has the audio, too."""
        numbers = takewhile(lambda number: self.path(self.name_of(clip_id, number)).exists(), count(1))
        return [self.name_of(clip_id, number) for number in numbers]

    def clip_ids(self) -> set[str]:
        """Returns the ids of the clips that have a file; no file is opened."""
        return {
            path.relative_to(self.folder).as_posix().removesuffix(SUFFIX)
            for path in self.folder.rglob(f"*{SUFFIX}")
            if not is_temporary(path)
        }

    def is_whole(self, clip_id: str) -> bool:
        """Returns whether the clip's file has the right size and clip id; see `read_header`.

        This takes a tenth of a millisecond on a local disk.
        """
        header = read_header(self.path(clip_id))
        try:
            metadata = (header or {})[METADATA]
            return bool(metadata["format"] == FORMAT and json.loads(metadata["summary"])["clip_id"] == clip_id)
        except (ValueError, TypeError, KeyError):
            return False

    def discard(self, clip_ids: Iterable[str]) -> None:
        """Deletes the files of clips, and everything derived from them."""
        folders = [self.folder, *(folder for pattern in DERIVED for folder in self.folder.glob(pattern))]
        for clip_id in clip_ids:
            for folder in folders:
                clip_path(folder, clip_id).unlink(missing_ok=True)

    @contextmanager
    def writing(self, clip_id: str) -> Iterator[ClipWriter]:
        """Yields a writer for a clip's faces and audio; the file is written atomically when the block ends.

        Raises:
            ValueError: the clip id points outside the store.
        """
        with tensor_file(self.path(clip_id)) as tensors:
            yield ClipWriter(tensors)

    def write(self, summary: ClipSummary, faces: Iterable[FaceFrame], quality: int = 95) -> ClipSummary:
        """Writes a clip that has faces only; use `writing` to add audio and times."""
        with self.writing(summary.clip_id) as writer:
            for face in faces:
                writer.add(face, quality)
            return writer.finish(summary)

    def open(self, clip_id: str) -> StoredClip:
        """Opens the faces of a clip.

        Raises:
            DamagedClipError: the file is damaged.
            FileNotFoundError: the clip was not prepared.
            ValueError: the file has another format.
        """
        path = self.path(clip_id)
        if not path.exists():
            raise FileNotFoundError(f"{path}: clip {clip_id!r} is not in the store; run `fer data prepare` again")
        return StoredClip(path)

    def write_index(self, summaries: Iterable[ClipSummary], part: str = "") -> None:
        """Writes the index, a table with which a data set opens without opening its clips, after these are on disk.

        Args:
            summaries: the rows of the index.
            part: name of a part of the data set (such as `2-of-8`). Each part has its own index until the whole one is
                written, which deletes them, so that several machines can work in parallel.
        """
        flush_disks()
        write_csv(self.index_path(part), list(KINDS), map(astuple, summaries), protect=False)
        for earlier in () if part else self.folder.glob("index-*.csv"):  # which a clock set back makes look newer
            earlier.unlink(missing_ok=True)

    def index_path(self, part: str = "") -> Path:
        """Returns the path of the index, or of that of a part; it need not exist."""
        return self.folder / (f"index-{part}.csv" if part else "index.csv")

    def read_index(self) -> dict[str, ClipSummary]:
        """Returns the summaries in the index and its parts by clip id; empty if there is no index yet."""
        summaries: dict[str, ClipSummary] = {}
        for path in self._indices():
            with path.open(newline="", encoding="utf-8") as file:
                rows = csv.reader(file)
                header = next(rows, [])
                kinds = [KINDS[name] for name in header]
                for row in rows:
                    values = (kind(value) for kind, value in zip(kinds, row, strict=True))
                    summary = ClipSummary(**dict(zip(header, values, strict=True)))
                    summaries[summary.clip_id] = summary
        return summaries

    def _indices(self) -> list[Path]:
        """Returns the paths of the index and its parts in order of modification."""
        return sorted(self.folder.glob("index*.csv"), key=lambda path: path.stat().st_mtime_ns)
