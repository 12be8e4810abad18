"""Checks whether a copy of a data set is complete, readable and split without leakage."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from data_modules.datasets.dataset import SplitCount, VideoDataset
from data_modules.datasets.films import compare_films
from data_modules.datasets.splits import shared_with_reported
from data_modules.manifest import SPLITS, VideoRecord, misnamed, outside_path, printable
from data_modules.utils.pool import Failure, run_in_processes
from data_modules.utils.progress import progress
from data_modules.video.audio_track import is_audio_file, require_audio
from data_modules.video.container import open_container
from data_modules.video.images import IMAGE_SUFFIXES
from data_modules.video.reader import is_video_file, open_clip

TIME_LIMIT = 120.0  # seconds for one clip
BLOCK = 1 << 20
Result = TypeVar("Result")
Severity = Literal["wrong", "note"]


@dataclass(frozen=True)
class Finding:
    """An observation about a copy; `wrong` ones invalidate results, `note` ones are worth knowing."""

    kind: str
    severity: Severity
    text: str
    clips: tuple[str, ...] = ()  # ids of the clips concerned, all of them, or what is shared


@dataclass(frozen=True)
class Diagnosis:
    """The result of examining a data set."""

    dataset: str
    root: str
    fold: str
    class_names: tuple[str, ...]
    found: tuple[SplitCount, ...]  # one of each split that has clips, with all classes
    published: tuple[SplitCount, ...]  # empty where nothing is known
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether no finding invalidates results."""
        return all(finding.severity == "note" for finding in self.findings)


@dataclass(frozen=True)
class ClipState:
    """The state of a clip after reading its beginning."""

    missing: bool = False
    frames: int = 0  # counted up to 2
    blank: bool = False  # an image of a single colour
    silent: bool = False  # a video or file of sound without audio; never of images
    size: int = 0  # bytes of its files


def examine(dataset: VideoDataset, workers: int) -> Diagnosis:
    """Examines a data set as it lies on disk; nothing is changed, and only the beginning of each clip is decoded.

    Args:
        dataset: which; its fold is the one whose division is looked at.
        workers: processes that open clips; 0 does it in this one.

    Raises:
        DatasetNotFoundError: it is not there.
        ValueError: an annotation cannot be read, with file and line.
    """
    listed, folder = dataset.records(), dataset.folder.absolute()
    records, names = [r for r in listed if not misnamed(r)], [printable(r.path) for r in listed if misnamed(r)]
    outside = [record for record in records if outside_path(record) is not None]
    inside = [record for record in records if outside_path(record) is None]
    states = _run(partial(_Reader, folder), inside, workers, f"{dataset.name}: opening")
    findings = [
        *_finding("names", "wrong", "clips have names that are not UTF-8 and were not opened; rename them", names),
        *_manifest_findings(records, outside, dataset.class_names),
        *_clip_findings(states),
        *_overlaps(records),
        *_identical(states, folder, workers, dataset),
    ]
    found, published = count_clips(records), published_counts(dataset)
    text = "files are left out, as they are in the folder of another person"
    findings += _finding("misplaced", "note", text, dataset.misplaced())
    findings += [*_empty_splits(found), *_differing_counts(found, published), *_left_out(dataset)]
    findings += [*_inner_split(dataset, records), *_other_dataset(dataset)]
    return Diagnosis(dataset.name, str(folder), dataset.fold, dataset.class_names, found, published, tuple(findings))


def count_clips(records: Iterable[VideoRecord]) -> tuple[SplitCount, ...]:
    """Counts the clips of each split and emotion."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[record.split][record.emotion] += 1
    order = [*SPLITS, *sorted(counts.keys() - set(SPLITS))]
    return tuple(SplitCount.from_pairs(split, *sorted(counts[split].items())) for split in order if split in counts)


def published_counts(dataset: VideoDataset) -> tuple[SplitCount, ...]:
    """The numbers of a complete copy, where they are known of the classes asked for (they are of the default ones)."""
    counts = dataset.counts
    return counts if counts and dataset.class_names == type(dataset)().class_names else ()


def _run(
    make: Callable[[], Callable[[VideoRecord], Result]], records: Sequence[VideoRecord], workers: int, what: str
) -> list[tuple[VideoRecord, Result | Failure]]:
    results = []
    with progress(what, len(records), transient=True) as advance:
        for pair in run_in_processes(make, records, min(workers, len(records)), TIME_LIMIT):
            results.append(pair)
            advance(len(results))
    return sorted(results, key=lambda pair: (pair[0].clip_id, pair[0].path))


class _Reader:
    """Opens a clip and decodes up to two frames."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, record: VideoRecord) -> ClipState:
        path = self._folder / record.path
        if not path.exists() or not (self._folder / record.truth).exists():
            return ClipState(missing=True)
        if is_audio_file(path):
            return ClipState(silent=not _is_audible(path), size=path.stat().st_size)
        frames = [image for _, image in islice(open_clip(self._folder, record).frames(), 2)]
        blank = len(frames) == 1 and bool((frames[0] == frames[0][:1, :1]).all())
        size = sum(part.stat().st_size for part in _files(path))
        return ClipState(False, len(frames), blank, is_video_file(path) and not _has_audio(path), size)


class _Digest:
    """Computes the SHA-256 of the content of a clip's files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, record: VideoRecord) -> str:
        digest = hashlib.sha256()
        for path in _files(self._folder / record.path):
            with path.open("rb") as file:
                while block := file.read(BLOCK):
                    digest.update(block)
        return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(part for part in path.iterdir() if part.is_file()) if path.is_dir() else [path]


def _is_still(path: str) -> bool:
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def _has_audio(path: Path) -> bool:
    with open_container(path) as container:
        return len(container.streams.audio) > 0


def _is_audible(path: Path) -> bool:
    """Whether a file of sound has a sample other than zero.

    Raises:
        UnreadableVideoError: the audio cannot be read.
    """
    return any(bool(block.any()) for block in require_audio(path))


def _finding(kind: str, severity: Severity, text: str, clips: Iterable[str]) -> Iterator[Finding]:
    """The finding, if there are clips that it is about; its text begins with their number."""
    listed = tuple(clips)
    if listed:
        yield Finding(kind, severity, f"{len(listed)} {text}", listed)


def _manifest_findings(
    records: Sequence[VideoRecord], outside: Sequence[VideoRecord], class_names: Sequence[str]
) -> Iterator[Finding]:
    twice = (clip_id for clip_id, number in Counter(record.clip_id for record in records).items() if number > 1)
    yield from _finding("duplicate ids", "wrong", "clip ids stand twice or more", twice)
    left = (record.clip_id for record in outside)
    yield from _finding("outside", "wrong", "clips point outside of the data set's folder; they were not opened", left)
    strange = [record for record in records if record.emotion not in class_names]
    names = ", ".join(sorted({repr(record.emotion) for record in strange})[:8])
    text = f"clips are labelled {names}, which is not in the class list"
    yield from _finding("labels", "wrong", text, (record.clip_id for record in strange))


def _clip_findings(states: Sequence[tuple[VideoRecord, ClipState | Failure]]) -> Iterator[Finding]:
    good = [(record, state) for record, state in states if isinstance(state, ClipState)]
    failed = [(record, state.reason) for record, state in states if isinstance(state, Failure)]
    missing = (record.clip_id for record, state in good if state.missing)
    yield from _finding("missing", "wrong", "clips are listed, but not there; copy them again", missing)
    reason = f", such as: {failed[0][1]}" if failed else ""
    yield from _finding("unreadable", "wrong", "clips cannot be read" + reason, (r.clip_id for r, _ in failed))
    moving = [
        (record, state) for record, state in good if not (_is_still(record.path) or is_audio_file(Path(record.path)))
    ]
    short = (record.clip_id for record, state in moving if not state.missing and state.frames < 2)
    yield from _finding("short", "note", "clips have a single frame that can be read", short)
    blank = (record.clip_id for record, state in good if state.blank)
    yield from _finding("blank", "note", "images are of a single colour, without a face", blank)
    silent = (record.clip_id for record, state in good if state.silent)
    yield from _finding("silent", "note", "clips have no audio", silent)
    turned = (f"{r.clip_id} by {90 * r.quarter_turns}°" for r, _ in states if r.quarter_turns)
    yield from _finding("turned", "note", "clips lie on their side and are turned clockwise; are they upright?", turned)


def _overlaps(records: Sequence[VideoRecord]) -> Iterator[Finding]:
    """Subjects and films that are both trained on (or chosen on) and reported on."""
    for kind, name in (("subject", "subjects"), ("group", "films")):
        shared = shared_with_reported(records, [getattr(record, kind) for record in records])
        yield from _finding(f"shared {name}", "wrong", f"{name} are in the training and the test split", shared)


def _identical(
    states: Sequence[tuple[VideoRecord, ClipState | Failure]], folder: Path, workers: int, dataset: VideoDataset
) -> Iterator[Finding]:
    """Clips of the same content in different splits: only those of the same size are read.

    Up to as many as a complete copy has are a note, since it is the data set's own fault and not the copy's.
    """
    sizes: dict[int, list[VideoRecord]] = defaultdict(list)
    for record, state in states:
        if isinstance(state, ClipState) and not state.missing:
            sizes[state.size].append(record)
    suspects = [record for same in sizes.values() if len({r.split for r in same}) > 1 for record in same]
    contents: dict[str, list[VideoRecord]] = defaultdict(list)
    for record, digest in _run(partial(_Digest, folder), suspects, workers, f"{dataset.name}: comparing"):
        if isinstance(digest, Failure):
            yield Finding("unreadable", "wrong", f"a clip cannot be read: {digest.reason}", (record.clip_id,))
        else:
            contents[digest].append(record)
    same = [group for group in contents.values() if len({record.split for record in group}) > 1]
    pairs = (" = ".join(f"{record.split}: {record.clip_id}" for record in group) for group in same)
    text, known = "clips stand in several splits with the same content", len(same) <= dataset.shared_images
    if known:
        text += ", as in every copy of this data set; say so with results, or train without them (`copies: false`)"
    yield from _finding("identical files", "note" if known else "wrong", text, pairs)


def _empty_splits(found: Sequence[SplitCount]) -> Iterator[Finding]:
    empty = {"train", "test"} - {count.split for count in found}
    yield from _finding("empty", "wrong", "of the splits train and test have no clips", sorted(empty))


def _differing_counts(found: Sequence[SplitCount], published: Sequence[SplitCount]) -> Iterator[Finding]:
    """Published numbers may be of the whole data set, of splits, and of the classes in them."""
    for expected in published:
        parts = [count for count in found if expected.split in ("", count.split)]
        emotions: Counter[str] = sum((Counter(dict(count.emotions)) for count in parts), Counter())
        differing = [
            f"{emotion} {emotions[emotion]} instead of {number}"
            for emotion, number in expected.emotions
            if emotions[emotion] != number
        ]
        clips = sum(count.clips for count in parts)
        if clips != expected.clips or differing:
            text = f"{expected.split or 'all splits'}: {clips} clips here, {expected.clips} in a complete copy"
            yield Finding("counts", "note", "; ".join([text, *differing]))


def _inner_split(dataset: VideoDataset, records: Sequence[VideoRecord]) -> Iterator[Finding]:
    """That an inner split of the training clips may share people with them."""
    if dataset.exclusive_in == "clips" and not any(record.split == "inner" for record in records):
        text = (
            "neither films nor subjects of the clips are known, so the inner split is exclusive in clips only: its "
            "accuracy is too high where people are in both parts"
        )
        yield Finding("inner split", "note", text)


def _other_dataset(dataset: VideoDataset) -> Iterator[Finding]:
    """Films that SFEW and AFEW share across their splits."""
    compared = compare_films(dataset)
    if compared is None:
        return
    other, shared = compared
    if shared is None:
        text = f"not compared with those of {other}, which is not in {dataset.folder.parent}"
        yield Finding("films", "note", text)
        return
    text = f"films are trained on in one of {dataset.name} and {other} and reported in the other"
    certain = (film.text for film in shared if film.is_named)
    yield from _finding(f"films of {other}", "wrong", f"{text}; do not use one to train for the other", certain)
    likely = (film.text for film in shared if not film.is_named)
    advice = "AFEW names places in films and no films, and two films may have a clip at the same place: look at them"
    yield from _finding(f"films of {other}", "note", f"{text}, most likely; {advice}", likely)


def _left_out(dataset: VideoDataset) -> Iterator[Finding]:
    """What the data set says of rows that it leaves out because they show none of its classes."""
    counts = dataset.left_out()
    if counts:
        listed = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        yield Finding("left out", "note", f"{counts.total()} clips are of none of the classes: {listed}")
