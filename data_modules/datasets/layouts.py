"""Read the layouts that several data sets share: folders named after classes, and lists without a header."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from data_modules.datasets.dataset import VideoDataset
from data_modules.labels import emotion_name
from data_modules.manifest import VideoRecord
from data_modules.video.container import VIDEO_SUFFIXES


def visible(folder: Path) -> list[Path]:
    """Returns a folder's contents sorted by name, without hidden files such as `._0001.avi` or `.DS_Store`."""
    return sorted(path for path in folder.iterdir() if path.name[0] != ".")


def videos(folder: Path) -> list[Path]:
    """Returns the video files of a folder, sorted by name."""
    return with_suffixes(folder, VIDEO_SUFFIXES)


def with_suffixes(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Returns the files of a folder whose names end in one of some suffixes, in any case, sorted by name."""
    return [path for path in visible(folder) if path.suffix.lower() in suffixes]


def class_folders(dataset: VideoDataset, folder: Path) -> list[tuple[str, Path]]:
    """Returns the folders named after the data set's classes, in any known spelling, as pairs (emotion, folder).

    Raises:
        DatasetNotFoundError: the folder, or the folder of a class, does not exist.
    """
    location = folder.relative_to(dataset.folder)
    if not folder.is_dir():
        raise dataset.not_found(f"{location}/<{','.join(dataset.class_names)}>")
    folders = [(emotion_name(path.name), path) for path in visible(folder) if path.is_dir()]
    missing = sorted(set(dataset.class_names) - {emotion for emotion, _ in folders})
    if missing:
        contents = ", ".join(path.name for _, path in folders) or "no folder"
        raise dataset.not_found(f"folders of {', '.join(missing)} in {location} (found: {contents})")
    return [(emotion, path) for emotion, path in folders if emotion in dataset.class_names]


def read_list(path: Path, class_names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields clip and emotion of the rows `<name> <emotion>` of a list without a header.

    The last line need not end with a newline.

    Raises:
        ValueError: a row has another form; the message names file and line.
    """
    for line, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not text.strip():
            continue
        name, _, label = text.strip().rpartition(" ")
        emotion = emotion_name(label)
        if not name or emotion not in class_names:
            raise ValueError(
                f"{path}, line {line}: found {text!r}; expected a clip's name, a space and one of "
                f"{', '.join(class_names)}, from the first line on"
            )
        yield name.strip(), emotion


def official_split(dataset: VideoDataset, train: Path, test: Path, clips: Path) -> list[VideoRecord]:
    """Returns the clips named in two lists without a header, whether or not their files exist.

    Args:
        dataset: the data set that provides the root, the classes and the fold.
        train: the list of the training clips, relative to the root.
        test: the list of the test clips, relative to the root.
        clips: the folder that the names in the lists are relative to; a clip's id is its name without suffix.

    Raises:
        DatasetNotFoundError: a list or the folder does not exist.
        ValueError: a row of a list is invalid; the message names file and line.
    """
    for path in (train, test, clips):
        if not (dataset.folder / path).exists():
            raise dataset.not_found(str(path))
    return [
        VideoRecord(str(Path(name).with_suffix("")), str(clips / name), emotion, split=split, fold=dataset.fold)
        for split, path in (("train", train), ("test", test))
        for name, emotion in read_list(dataset.folder / path, dataset.class_names)
    ]
