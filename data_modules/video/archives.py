"""Reads clips from archives of frame images; nothing is unpacked to disk."""

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
"""Suffixes of compressed TAR archives, which have no random access, and the commands that decompress them."""
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError)
HEADERS = 1 << 16  # largest header of a member in bytes; names and attributes need a few hundred


@dataclass(frozen=True)
class ArchiveMember:
    """A member of a ZIP or TAR archive as the archive describes it."""

    name: str
    size: int  # bytes, unpacked
    kind: str = "file"  # or `folder`, or why it is refused: `a link`, `encrypted`, ...
    offset: int = 0  # of its content, in a tar archive

    @property
    def path(self) -> PurePosixPath:
        """The name as a path; the backslashes of some Windows programs count as separators."""
        return PurePosixPath(self.name.replace("\\", "/"))


def is_archive(path: PurePath) -> bool:
    """Returns whether a file name is that of an archive, including compressed TAR archives, which are refused."""
    return path.name.lower().endswith((*ARCHIVE_SUFFIXES, *DECOMPRESSORS))


def clip_stem(path: PurePath) -> str:
    """Returns the name of a clip's file or folder without its suffix: `clip` for `clip.mp4` and `clip.tar.gz`."""
    ends = [suffix for suffix in (*DECOMPRESSORS, *ARCHIVE_SUFFIXES) if path.name.lower().endswith(suffix)]
    return path.name[: -len(ends[0])] if ends else path.stem


def open_archive(path: Path, max_side: int | None, limits: VideoLimits, fps: float) -> FrameImages:
    """Opens the frames in a ZIP or TAR archive, which must all be in one folder.

    Files added by macOS (`__MACOSX`, `._1.jpg`) and files that are not images are ignored. Nothing is unpacked, but
    archives with the names, links or sizes of an attack are still refused.

    Args:
        path: the archive.
        max_side: see `video.open_video`.
        limits: limits of the number and size of members.
        fps: see `video.open_video`.

    Raises:
        UnreadableVideoError: the file is not an archive, is damaged, has no images or images in several folders, or is
            refused.
    """
    name = path.name.lower()
    for suffix, command in DECOMPRESSORS.items():
        if name.endswith(suffix):
            raise UnreadableVideoError(
                f"{path}: found a compressed TAR archive; expected {' or '.join(ARCHIVE_SUFFIXES)} of frame images, "
                f"which gives access to single images. Run `{command}` on it to get a .tar."
            )
    with _unreadable_on_error(path):
        open_member, members = _zip(path, limits) if name.endswith(ZIP) else _tar(path, limits)
    files = _frames(path, members)
    return FrameImages(path, files, max_side, limits, fps, open_member)


@contextmanager
def _unreadable_on_error(path: Path) -> Iterator[None]:
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


def _zip(path: Path, limits: VideoLimits) -> tuple[Opener, list[ArchiveMember]]:
    archive = zipfile.ZipFile(path)  # read once; closed when the last reference is gone
    members = list(_checked(path, map(_zip_member, archive.infolist()), limits))
    infos = {member.path: info for member, info in zip(members, archive.infolist(), strict=True)}

    def open_member(file: PurePath) -> BinaryIO:
        info = infos[PurePosixPath(file)]
        try:
            with archive.open(info) as stream:
                return _checked_content(stream.read(info.file_size + 1), info.file_size)
        except DAMAGE as error:  # such as a wrong checksum
            raise BrokenImageError(error) from error

    return open_member, members


def _zip_member(info: zipfile.ZipInfo) -> ArchiveMember:
    mode = info.external_attr >> 16
    kind = "folder" if info.is_dir() else "file"
    if stat.S_ISLNK(mode):
        kind = "a link"
    elif info.flag_bits & 1:
        kind = "encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        kind = f"compressed by method {info.compress_type}, not by Deflate"
    return ArchiveMember(info.filename, info.file_size, kind)


def _tar(path: Path, limits: VideoLimits) -> tuple[Opener, list[ArchiveMember]]:
    with path.open("rb") as file:
        bounded = cast(BinaryIO, _BoundedReader(file, path))
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            members = list(_checked(path, map(_tar_member, archive), limits))
    by_path = {member.path: member for member in members}

    def open_member(image: PurePath) -> BinaryIO:
        member = by_path[PurePosixPath(image)]
        with path.open("rb") as file:
            file.seek(member.offset)
            return _checked_content(file.read(member.size), member.size)

    return open_member, members


def _tar_member(info: tarfile.TarInfo) -> ArchiveMember:
    kind = "folder" if info.isdir() else "file"
    if info.issym() or info.islnk():
        kind = "a link"
    elif not (info.isdir() or info.isreg()) or info.issparse():
        kind = "neither a file nor a folder"
    return ArchiveMember(info.name, info.size, kind, info.offset_data)


class _BoundedReader:
    """A stream that limits the size of single reads, as headers may declare false lengths."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        """Reads `size` bytes; rejects the archive if they are more than a header may have."""
        if size > HEADERS:
            raise _refused(self._path, "headers of excessive length")
        return self._stream.read(size)


def _refused(path: Path, found: str) -> UnreadableVideoError:
    return UnreadableVideoError(
        f"{path}: refused: found {found}; expected an archive of frame images in one folder. Do not unpack it unless "
        "you trust its origin; if it is valid, raise the limits in VideoLimits."
    )


def _checked(path: Path, members: Iterable[ArchiveMember], limits: VideoLimits) -> Iterator[ArchiveMember]:
    """Yields the members, each after checking that it is harmless."""
    seen: set[PurePosixPath] = set()
    remaining = limits.max_archive_bytes
    for number, member in enumerate(members, start=1):
        name, remaining = f"{member.name[:80]!r}", remaining - member.size
        for is_invalid, found in (
            (number > limits.max_members, f"more than {limits.max_members} members"),
            (not safe_relative(member.name), f"member {name}, whose path leaves the archive"),
            (member.kind not in ("file", "folder"), f"member {name}, which is {member.kind}"),
            (member.kind == "file" and member.path in seen, f"member {name} twice"),
            (member.size > limits.max_member_bytes, f"member {name} of {member.size} bytes"),
            (remaining < 0, f"members of more than {limits.max_archive_bytes} bytes in all"),
        ):
            if is_invalid:
                raise _refused(path, found)
        seen.add(member.path)
        yield member


def _is_frame(member: ArchiveMember) -> bool:
    hidden = any(part[0] == "." or part == "__MACOSX" for part in member.path.parts)
    return member.kind == "file" and not hidden and is_frame(member.path)


def _frames(path: Path, members: Iterable[ArchiveMember]) -> list[PurePosixPath]:
    """Returns the paths of the images in natural order."""
    files = [member.path for member in members if _is_frame(member)]
    folders = sorted({str(file.parent) for file in files})
    if len(folders) != 1:
        found = f"images in {len(folders)} folders ({', '.join(folders[:3])})" if folders else "no images"
        raise UnreadableVideoError(
            f"{path}: found {found}; expected the frames of one clip, {' '.join(IMAGE_SUFFIXES)}, in one folder."
        )
    return natural_order(files)


def _checked_content(content: bytes, size: int) -> BinaryIO:
    if len(content) != size:
        raise BrokenImageError(f"found {len(content)} bytes, expected {size} as declared")
    return io.BytesIO(content)
