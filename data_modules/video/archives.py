"""A clip as an archive of its frame images, read in place: nothing is unpacked to disk."""

import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO, cast

from data_modules.utils.paths import safe_relative
from data_modules.video.images import IMAGE_SUFFIXES, BrokenImageError, FrameImages, is_frame, natural_order
from data_modules.video.source import UnreadableVideoError, VideoLimits, describe

ZIP, TAR = ".zip", ".tar"
ARCHIVE_SUFFIXES = (ZIP, TAR)
DECOMPRESSORS = {".tar.gz": "gunzip", ".tgz": "gunzip", ".tar.bz2": "bunzip2", ".tar.xz": "unxz"}
"""Suffixes of compressed TAR archives, which cannot be read at random, and the commands that make a TAR of them."""
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError)
HEADERS = 1 << 16  # bytes that the headers before a member may have; names and attributes have a few hundred


@dataclass(frozen=True)
class Member:
    """What an archive says of one of its files, whatever kind of archive it is."""

    name: str
    size: int  # bytes, unpacked
    kind: str = "file"  # or `folder`, or why it is refused: `a link`, `encrypted`, ...
    offset: int = 0  # of its content, in a tar archive

    @property
    def path(self) -> PurePosixPath:
        """Its name, with the backslashes of some Windows programs as what they mean."""
        return PurePosixPath(self.name.replace("\\", "/"))


def is_archive(path: PurePath) -> bool:
    """Whether a file's name is that of an archive of frames, compressed TAR archives included, which are refused."""
    return path.name.lower().endswith((*ARCHIVE_SUFFIXES, *DECOMPRESSORS))


def clip_stem(path: PurePath) -> str:
    """The name of a clip's file or folder without the suffix: `clip` of `clip.mp4` and `clip.tar.gz`."""
    ends = [suffix for suffix in (*DECOMPRESSORS, *ARCHIVE_SUFFIXES) if path.name.lower().endswith(suffix)]
    return path.name[: -len(ends[0])] if ends else path.stem


def open_archive(path: Path, max_side: int | None, limits: VideoLimits, fps: float) -> FrameImages:
    """The frames of a ZIP or TAR archive, which lie in one folder of it.

    What macOS adds (`__MACOSX`, `._1.jpg`) and files that are no images are passed over. Nothing is ever written to
    where a member's name says; an archive whose names, links or sizes are those of an attack is refused all the same.

    Args:
        path: the archive.
        max_side: see `video.open_video`.
        limits: of the number and size of members, see `VideoLimits`.
        fps: see `video.open_video`.

    Raises:
        UnreadableVideoError: it is none, is damaged, holds no images or those of several folders, or is refused.
    """
    name = path.name.lower()
    for suffix, command in DECOMPRESSORS.items():
        if name.endswith(suffix):
            raise UnreadableVideoError(
                f"{path}: found a compressed TAR archive; expected {' or '.join(ARCHIVE_SUFFIXES)} of frame images, of "
                f"which each can be read by itself. Run `{command}` on it, which leaves a .tar."
            )
    with _named(path):
        opened, members = _zip(path, limits) if name.endswith(ZIP) else _tar(path, limits)
    files = _frames(path, members)
    return FrameImages(path, files, max_side, limits, fps, opened)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except UnreadableVideoError:
        raise
    except (*DAMAGE, ValueError) as error:
        raise UnreadableVideoError(
            f"{path}: cannot be opened as an archive ({error.__class__.__name__}: {error}); found {describe(path)}, "
            f"expected {' '.join(ARCHIVE_SUFFIXES)} of frame images. Copy or download it again."
        ) from error


Opener = Callable[[PurePath], BinaryIO]


def _zip(path: Path, limits: VideoLimits) -> tuple[Opener, list[Member]]:
    archive = zipfile.ZipFile(path)  # its table of contents is read once; it is closed when nobody reads on
    members = list(_checked(path, map(_zip_member, archive.infolist()), limits))
    infos = {member.path: info for member, info in zip(members, archive.infolist(), strict=True)}

    def opened(file: PurePath) -> BinaryIO:
        info = infos[PurePosixPath(file)]
        try:
            with archive.open(info) as stream:
                return _whole(stream.read(info.file_size + 1), info.file_size)
        except DAMAGE as error:  # such as a checksum that does not fit
            raise BrokenImageError(error) from error

    return opened, members


def _zip_member(info: zipfile.ZipInfo) -> Member:
    mode = info.external_attr >> 16
    kind = "folder" if info.is_dir() else "file"
    if stat.S_ISLNK(mode):
        kind = "a link"
    elif info.flag_bits & 1:
        kind = "encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        kind = f"compressed by method {info.compress_type}, not by Deflate"
    return Member(info.filename, info.file_size, kind)


def _tar(path: Path, limits: VideoLimits) -> tuple[Opener, list[Member]]:
    with path.open("rb") as file:
        bounded = cast(BinaryIO, _BoundedReader(file, path))
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            members = list(_checked(path, map(_tar_member, archive), limits))
    places = {member.path: member for member in members}

    def opened(image: PurePath) -> BinaryIO:
        member = places[PurePosixPath(image)]
        with path.open("rb") as file:
            file.seek(member.offset)
            return _whole(file.read(member.size), member.size)

    return opened, members


def _tar_member(info: tarfile.TarInfo) -> Member:
    kind = "folder" if info.isdir() else "file"
    if info.issym() or info.islnk():
        kind = "a link"
    elif not (info.isdir() or info.isreg()) or info.issparse():
        kind = "neither a file nor a folder"
    return Member(info.name, info.size, kind, info.offset_data)


class _BoundedReader:
    """A stream of which not more is read at once than a header may have: headers lie about lengths, too."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        """As a file's."""
        if size > HEADERS:
            raise _refused(self._path, "headers of excessive length")
        return self._stream.read(size)


def _refused(path: Path, found: str) -> UnreadableVideoError:
    return UnreadableVideoError(
        f"{path}: refused: found {found}; expected an archive of frame images in one folder. Do not unpack it, unless "
        "you trust where it comes from; if it is sound, see the limits of VideoLimits."
    )


def _checked(path: Path, members: Iterable[Member], limits: VideoLimits) -> Iterator[Member]:
    """The members, each when it was found to be harmless."""
    seen: set[PurePosixPath] = set()
    left = limits.max_archive_bytes
    for number, member in enumerate(members, start=1):
        name, left = f"{member.name[:80]!r}", left - member.size
        for fault, found in (
            (number > limits.max_members, f"more than {limits.max_members} members"),
            (not safe_relative(member.name), f"member {name}, whose path leaves the archive"),
            (member.kind not in ("file", "folder"), f"member {name}, which is {member.kind}"),
            (member.kind == "file" and member.path in seen, f"member {name} twice"),
            (member.size > limits.max_member_bytes, f"member {name} of {member.size} bytes"),
            (left < 0, f"members of more than {limits.max_archive_bytes} bytes in all"),
        ):
            if fault:
                raise _refused(path, found)
        seen.add(member.path)
        yield member


def _is_frame(member: Member) -> bool:
    hidden = any(part[0] == "." or part == "__MACOSX" for part in member.path.parts)
    return member.kind == "file" and not hidden and is_frame(member.path)


def _frames(path: Path, members: Iterable[Member]) -> list[PurePosixPath]:
    """The images in their order."""
    files = [member.path for member in members if _is_frame(member)]
    folders = sorted({str(file.parent) for file in files})
    if len(folders) != 1:
        found = f"images in {len(folders)} folders ({', '.join(folders[:3])})" if folders else "no images"
        raise UnreadableVideoError(
            f"{path}: found {found}; expected the frames of one clip, {' '.join(IMAGE_SUFFIXES)}, in one folder."
        )
    return natural_order(files)


def _whole(content: bytes, size: int) -> BinaryIO:
    if len(content) != size:
        raise BrokenImageError(f"{len(content)} bytes, {size} of which are declared")
    return io.BytesIO(content)
