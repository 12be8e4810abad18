"""Clips as archives of frames: every kind gives the frames of the same folder, and hostile ones are refused."""

import os
import stat
import tarfile
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from data_modules.video.archives import clip_stem, is_archive
from data_modules.video.reader import open_video
from data_modules.video.source import UnreadableVideoError, VideoLimits
from tests.fakes import archive_members, picture, write_archive
from tests.videos import numbered_frame, read_number

KINDS = (".zip", ".tar")
of_kinds = pytest.mark.parametrize("kind", KINDS)


@of_kinds
@pytest.mark.parametrize("folder", ["", "./", "clip/", "a/b/"])
def test_frames_are_in_natural_order(tmp_path, kind, folder):
    source = open_video(write_archive(tmp_path / f"clip{kind}", archive_members(folder)), fps=10)
    assert (source.num_frames, source.fps, source.width, source.height) == (4, 10, 96, 64)
    for _ in range(2):
        assert [(i, read_number(frame)) for i, frame in source.frames()] == [(0, 1), (1, 2), (2, 10), (3, 11)]
    assert [read_number(frame) for _, frame in source.frames([3, 1])] == [2, 11]
    assert np.array_equal(next(source.frames())[1], numbered_frame(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"clip{kind}"], "nothing is unpacked"


@of_kinds
def test_what_file_managers_and_others_add_is_passed_over(tmp_path, kind):
    more = [("__MACOSX/clip/._1.png", b"x"), ("clip/.DS_Store", b"x"), ("clip/._1.png", b"x"), ("notes.txt", b"x")]
    source = open_video(
        write_archive(tmp_path / f"clip{kind.upper()}", [*more, *archive_members("clip/")]), max_side=48
    )
    assert [frame.shape for _, frame in source.frames()] == [(32, 48, 3)] * 4


def test_backslashes_of_windows_are_folders(tmp_path):
    assert open_video(write_archive(tmp_path / "clip.zip", archive_members("clip\\"))).num_frames == 4


@of_kinds
def test_images_that_do_not_decode_leave_their_number_out(tmp_path, kind):
    members = [(name, content[:99] if name == "2.png" else content) for name, content in archive_members()]
    source = open_video(write_archive(tmp_path / f"clip{kind}", members))
    assert [index for index, _ in source.frames()] == [0, 2, 3]
    assert source.broken == 1


def test_a_damaged_member_of_a_zip_leaves_its_number_out(tmp_path):
    path = tmp_path / "clip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in archive_members():
            archive.writestr(name, content)
    data = bytearray(path.read_bytes())
    place = data.index(picture(2))
    data[place + 40 : place + 44] = b"\0\0\0\0"
    path.write_bytes(data)
    assert [index for index, _ in open_video(path).frames()] == [0, 2, 3]


@of_kinds
@pytest.mark.parametrize("name", ["/1.png", "../1.png", "clip/../../1.png", "..\\1.png", "C:\\1.png", "/etc/passwd"])
def test_paths_that_leave_the_archive_are_refused(tmp_path, kind, name):
    path = write_archive(tmp_path / f"clip{kind}", [*archive_members(), (name, picture(3))])
    with pytest.raises(UnreadableVideoError, match=r"refused: found member .* leaves the archive"):
        open_video(path)


@of_kinds
def test_members_that_stand_twice_are_refused(tmp_path, kind):
    with pytest.warns(UserWarning, match="Duplicate") if kind == ".zip" else nullcontext():
        path = write_archive(tmp_path / f"clip{kind}", [*archive_members(), ("2.png", picture(3))])
    with pytest.raises(UnreadableVideoError, match=r"refused: found member '2.png' twice"):
        open_video(path)


@pytest.mark.parametrize(
    ("kind", "found"),
    [(tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.FIFOTYPE, "neither"), (tarfile.CHRTYPE, "nei")],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind, found):
    path = tmp_path / "clip.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("1.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(UnreadableVideoError, match=f"refused: found member '1.png', which is {found}"):
        open_video(path)


def test_links_and_encrypted_members_of_a_zip_are_refused(tmp_path):
    path = tmp_path / "clip.zip"
    link = zipfile.ZipInfo("1.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UnreadableVideoError, match="which is a link"):
        open_video(path)
    write_archive(path, archive_members())
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableVideoError, match="which is encrypted"):
        open_video(path)


@of_kinds
@pytest.mark.parametrize(
    ("limits", "found"),
    [
        (VideoLimits(max_members=3), "more than 3 members"),
        (VideoLimits(max_member_bytes=100), "member '10.png' of"),
        (VideoLimits(max_archive_bytes=600), "members of more than 600"),
    ],
)
def test_limits(tmp_path, kind, limits, found):
    with pytest.raises(UnreadableVideoError, match=f"refused: found .*{found}"):
        open_video(write_archive(tmp_path / f"clip{kind}", archive_members()), limits=limits)


def test_too_many_frames(tmp_path):
    with pytest.raises(UnreadableVideoError, match="at most 3"):
        open_video(write_archive(tmp_path / "clip.zip", archive_members()), limits=VideoLimits(max_frames=3))


@of_kinds
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, kind):
    """100 MB of zeros, which a ZIP archive holds in 100 kB."""
    path = write_archive(tmp_path / f"clip{kind}", [*archive_members(), ("3.png", bytes(100_000_000))])
    with pytest.raises(UnreadableVideoError, match=r"member '3.png' of 100000000 bytes"):
        open_video(path)


def test_a_header_of_excessive_length_is_refused(tmp_path):
    """A name that is said to have 10 GB: read as it asks for, it would fill the memory."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 10_000_000_000
    path = tmp_path / "clip.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 20_000_000)
    with pytest.raises(UnreadableVideoError, match="refused: found headers of excessive length"):
        open_video(path)


@pytest.mark.parametrize(
    ("end", "mode", "command"),
    [("tar.gz", "gz", "gunzip"), ("TGZ", "gz", "gunzip"), ("tar.bz2", "bz2", "bunzip2"), ("tar.xz", "xz", "unxz")],
)
def test_a_compressed_tar_says_how_to_decompress_it(tmp_path, end, mode, command):
    plain, path = write_archive(tmp_path / "plain.tar", archive_members("clip/")), tmp_path / f"clip.{end}"
    with tarfile.open(path, f"w:{mode}") as archive:
        archive.add(plain, "clip.tar")
    with pytest.raises(UnreadableVideoError, match=rf"compressed TAR archive; expected .zip or .tar .*`{command}`"):
        open_video(path)


def test_a_zip_that_understates_a_size_gives_no_more(tmp_path):
    path = write_archive(tmp_path / "clip.zip", [*archive_members(), ("3.png", bytes(5_000_000))])
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    source = open_video(path)
    assert [index for index, _ in source.frames()] == [0, 1, 3, 4]
    assert source.broken == 1


@of_kinds
def test_two_folders_or_none_are_no_clip(tmp_path, kind):
    with pytest.raises(UnreadableVideoError, match=r"images in 2 folders \(a, b\); expected the frames of one clip"):
        open_video(write_archive(tmp_path / f"two{kind}", [*archive_members("a/"), *archive_members("b/")]))
    with pytest.raises(UnreadableVideoError, match="found no images"):
        open_video(write_archive(tmp_path / f"none{kind}", [("a.txt", b"x")]))


@of_kinds
def test_what_is_no_archive_and_what_was_cut_off(tmp_path, kind):
    path = tmp_path / f"clip{kind}"
    path.write_text("<html>404 not found</html>")
    with pytest.raises(UnreadableVideoError, match=r"cannot be opened as an archive .*beginning '<html>404"):
        open_video(path)
    write_archive(path, archive_members())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(UnreadableVideoError, match="cannot be opened as an archive"):
        open_video(path)


def test_names():
    assert [is_archive(Path(name)) for name in ("a.zip", "b/a.TAR.GZ", "a.tgz", "a.gz", "a.mp4", "zip")] == [
        *(True, True, True),
        *(False, False, False),
    ]
    names = ("x/clip.1.mp4", "clip.tar.gz", "clip.ZIP", "clip.tgz", "clip")
    assert [clip_stem(Path(name)) for name in names] == ["clip.1", "clip", "clip", "clip", "clip"]
