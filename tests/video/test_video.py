import shutil
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_modules.manifest import VideoRecord
from data_modules.video.audio_track import read_audio
from data_modules.video.decord_frames import sparse_frames
from data_modules.video.reader import is_video_file, open_clip, open_video
from data_modules.video.rotation import RotatedSource
from data_modules.video.source import UnreadableVideoError, VideoLimits
from tests.videos import CLIPS, cut, numbered_frame, read_number, real_clips, rotate, write_audio, write_video


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "clip.mp4", [numbered_frame(i) for i in range(40)])


def test_frames_come_in_order_and_as_many_as_there_are(video):
    source = open_video(video)
    assert (source.num_frames, source.fps, source.width, source.height) == (40, 25.0, 96, 64)
    read = list(source.frames())
    assert [i for i, _ in read] == [read_number(frame) for _, frame in read] == list(range(40))
    assert all(frame.shape == (64, 96, 3) and frame.dtype == np.uint8 for _, frame in read)
    assert np.abs(read[0][1].astype(int) - numbered_frame(0)).mean() < 6  # RGB, not BGR


@pytest.mark.parametrize("indices", [[0], [39], [3, 17], [5, 4, 39, 4], list(range(10, 30))])
def test_chosen_frames_are_the_ones_asked_for(video, indices):
    read = list(open_video(video).frames(indices))
    assert [i for i, _ in read] == [read_number(frame) for _, frame in read] == sorted(set(indices))


@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("name", ["browser.webm", "phone.mp4"])
def test_the_rate_is_the_mean_where_it_varies_and_another_is_declared(tmp_path, name, turns):
    """Browsers declare no rate for what they record, which FFmpeg takes for one picture each millisecond."""
    times = np.cumsum(np.random.default_rng(0).integers(20, 47, 60))
    codec, options = ("libvpx", {"deadline": "realtime"}) if name.endswith("webm") else ("libx264", {})
    path = write_video(
        tmp_path / name, [numbered_frame(i) for i in range(60)], 1000, times.tolist(), codec=codec, options=options
    )
    source = RotatedSource(open_video(path), turns)
    assert source.num_frames == 60
    assert source.fps == pytest.approx(59_000 / (times[-1] - times[0]), abs=0.1)
    source = RotatedSource(open_video(path), turns)
    assert sum(1 for _ in source.frames(every=3)) == 20
    assert source.num_frames == 60
    assert source.fps == pytest.approx(59_000 / (times[-1] - times[0]), abs=0.1)


@pytest.mark.parametrize(("rate", "step"), [(25, 40), (30, 33.366)])
def test_a_rate_that_rounded_times_agree_with_stays_as_declared(tmp_path, rate, step):
    times = [round(step * number) for number in range(40)]
    source = open_video(write_video(tmp_path / "a.mkv", [numbered_frame(i) for i in range(40)], rate, times))
    declared = source.fps
    assert source.num_frames == 40
    assert source.fps == declared == rate


@pytest.mark.parametrize(("every", "expected"), [(7, [0, 7, 14, 21, 28, 35]), (100, [0])])
def test_every_nth_frame(video, every, expected):
    assert [read_number(frame) for _, frame in open_video(video).frames(every=every)] == expected


def test_both_decoders_give_the_same_pictures(video):
    few = dict(sparse_frames(video, [0, 13, 26, 39], 40))
    assert len(few) == 4
    everything = dict(open_video(video).frames())
    assert all(np.array_equal(few[i], everything[i]) for i in few)
    assert not list(sparse_frames(video, [0], 41)), "a decoder that counts otherwise is not to be trusted"


@pytest.mark.parametrize("indices", [[40], [0, 99], [-1, 3]])
def test_frames_that_are_not_there_are_not_invented(video, indices):
    with pytest.raises(IndexError, match="was requested"):
        list(open_video(video).frames(indices))


def test_max_side_keeps_the_proportions(video):
    source = open_video(video, max_side=48)
    assert (source.width, source.height) == (48, 32)
    read = list(source.frames())
    assert read[5][1].shape == (32, 48, 3)
    assert [read_number(frame) for _, frame in read] == list(range(40))
    assert open_video(video, max_side=4000).width == 96, "never enlarged"


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotated_videos_are_upright(video, turns):
    source = open_video(rotate(video, turns))
    upright = np.rot90(numbered_frame(9), -turns)  # numpy turns against the clock
    assert (source.height, source.width) == upright.shape[:2]
    for frames in (source.frames(), source.frames([9])):
        frame = next(frame for i, frame in frames if i == 9)
        assert np.abs(frame.astype(int) - upright).mean() < 6
    assert (open_video(video, max_side=48).width, open_video(video, max_side=48).height) == (
        (48, 32) if turns == 2 else (32, 48)
    )


def write_circle(path: Path, width: int, height: int, pixel: Fraction) -> Path:
    """A video that shows a bright circle of radius 24 above the middle, as cameras with oblong pixels film it."""
    shown = max(width, width * float(pixel)), max(height, height / float(pixel))  # with square pixels
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.hypot(x / width * shown[0] - shown[0] / 2, y / height * shown[1] - shown[1] / 2 + 4) < 24
    frame = np.where(inside[..., None], 220, 40).astype(np.uint8).repeat(3, axis=2)
    return write_video(path, [frame] * 12, codec="mpeg4" if path.suffix == ".avi" else "libx264", pixel=pixel)


def circle_of(frame: np.ndarray) -> tuple[int, int]:
    """Width and height of the bright part."""
    bright = frame.mean(axis=2) > 130
    return int(bright.any(axis=0).sum()), int(bright.any(axis=1).sum())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize(
    ("size", "pixel", "shown"),
    [
        ((72, 58), Fraction(16, 15), (77, 58)),  # DV of 720 x 576, a tenth of it
        ((72, 58), Fraction(64, 45), (102, 58)),  # the same, filmed wide
        ((72, 54), Fraction(8, 9), (72, 61)),  # DV of 720 x 480: higher than wide, and no column is lost
        ((90, 60), Fraction(2), (180, 60)),
    ],
)
def test_pixels_that_are_not_square_are_made_square(tmp_path, name, size, pixel, shown):
    source = open_video(write_circle(tmp_path / name, *size, pixel))
    assert (source.width, source.height) == shown
    assert source.picture_note == ""
    everything, some, one = (dict(source.frames(indices)) for indices in (None, [3, 4, 5], [7]))
    assert len(everything) == 12
    for frame in (*everything.values(), *some.values(), *one.values()):
        assert frame.shape == (*shown[::-1], 3)
        assert circle_of(frame) == pytest.approx((48, 48), abs=2)
    small = open_video(source.path, max_side=shown[0] // 2)
    assert next(small.frames())[1].shape[:2] == (small.height, small.width)
    assert (small.width, small.height) == pytest.approx((shown[0] / 2, shown[1] / 2), abs=1)
    assert circle_of(next(small.frames())[1]) == pytest.approx((24, 24), abs=2)
    with pytest.raises(UnreadableVideoError, match=f"{shown[0]} x {shown[1]} pixels"):
        open_video(source.path, limits=VideoLimits(max_pixels=shown[0] * shown[1] - 1))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_pixels_are_made_square_before_a_frame_is_turned(tmp_path, turns):
    path = rotate(write_circle(tmp_path / "a.mp4", 72, 58, Fraction(64, 45)), turns)
    for source in (open_video(path), RotatedSource(open_video(path), 2)):
        (_, frame), *_ = source.frames()
        assert (source.width, source.height) == frame.shape[1::-1] == ((102, 58) if turns == 2 else (58, 102))
        assert source.stretch == ((64 / 45, 1) if turns == 2 else (1, 64 / 45))
        assert circle_of(frame) == pytest.approx((48, 48), abs=2)


@pytest.mark.parametrize(
    ("pixel", "note"),
    [
        (None, ""),
        (Fraction(1), ""),
        (Fraction(1432, 1431), ""),  # as converters write where they round a size to an even number
        (Fraction(10), "pixels of 10:1, taken for square"),
        (Fraction(1, 10), "pixels of 1:10, taken for square"),
    ],
)
def test_pixels_of_unknown_or_absurd_shape_are_left_as_they_are(tmp_path, pixel, note):
    frames = [numbered_frame(i) for i in range(4)]
    plain = dict(open_video(write_video(tmp_path / "plain.mp4", frames)).frames())
    source = open_video(write_video(tmp_path / "a.mp4", frames, pixel=pixel))
    assert (source.width, source.height, source.picture_note) == (96, 64, note)
    assert all(np.array_equal(frame, plain[index]) for index, frame in source.frames())


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_clip_is_turned_as_its_record_says(tmp_path, turns):
    lying = [np.rot90(numbered_frame(i), turns) for i in range(9)]  # numpy turns against the clock
    write_video(tmp_path / "clip.mp4", lying)
    source = open_clip(tmp_path, VideoRecord("clip", "clip.mp4", "fear", quarter_turns=turns))
    assert (source.num_frames, source.fps, source.width, source.height) == (9, 25, 96, 64)
    assert np.array_equal(source.timestamps, open_video(tmp_path / "clip.mp4").timestamps)
    assert [(i, read_number(frame)) for i, frame in source.frames()] == [(i, i) for i in range(9)]
    assert [(i, read_number(frame)) for i, frame in source.frames([7, 3])] == [(3, 3), (7, 7)]
    assert all(frame.flags.c_contiguous and frame.shape == (64, 96, 3) for _, frame in source.frames(every=4))
    small = open_clip(tmp_path, VideoRecord("clip", "clip.mp4", "fear", quarter_turns=turns), max_side=48)
    assert (small.width, small.height) == next(small.frames())[1].shape[1::-1] == (48, 32)
    assert isinstance(source, RotatedSource) == bool(turns)


def test_what_may_have_sound(video, images, tmp_path):
    assert is_video_file(video)
    for path in (images, images / "1.jpg", tmp_path / "nowhere.mp4", tmp_path / "a.zip"):
        if path.suffix == ".zip":
            path.touch()
        assert not is_video_file(path)


def test_a_turned_clip_counts_what_is_broken(images):
    (images / "2.jpg").write_text("no image")
    source = RotatedSource(open_video(images), 1)
    assert [index for index, _ in source.frames()] == [0, 2, 3, 4]
    assert source.broken == 1


def test_times_of_a_variable_frame_rate(tmp_path):
    times = [0, 40, 80, 500, 540, 1200]
    path = write_video(tmp_path / "v.mp4", [numbered_frame(i) for i in range(6)], milliseconds=times)
    source = open_video(path)
    assert np.allclose(source.timestamps, np.array(times) / 1000, atol=1e-3)
    assert [read_number(frame) for _, frame in source.frames()] == list(range(6))
    assert np.allclose(source.timestamps, np.array(times) / 1000, atol=1e-3), "decoding says the same as the container"


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9")])
def test_other_containers_are_counted_by_decoding(tmp_path, name, codec):
    options = {"bf": "2"} if codec == "mpeg4" else {"deadline": "realtime"}
    path = write_video(tmp_path / name, [numbered_frame(i) for i in range(20)], codec=codec, options=options)
    source = open_video(path)
    assert source.num_frames == len(source.timestamps) == 20
    assert np.allclose(np.diff(source.timestamps), 0.04, atol=2e-3)
    assert [read_number(frame) for _, frame in source.frames()] == list(range(20))


def test_one_frame(tmp_path):
    source = open_video(write_video(tmp_path / "one.mp4", [numbered_frame(33)]))
    assert source.num_frames == 1
    assert [read_number(frame) for _, frame in source.frames()] == [33]


def test_a_lost_tail_leaves_the_frames_before_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 60, (64, 96, 3), dtype=np.uint8)
    frames = [np.clip(numbered_frame(i).astype(int) - np.roll(noise, i, 0), 0, 255).astype(np.uint8) for i in range(40)]
    whole = write_video(tmp_path / "a.mp4", frames, options={"movflags": "x"})
    data = whole.read_bytes()
    moov, mdat = data.index(b"moov") - 4, data.index(b"mdat") - 4
    assert mdat < moov, "this test cuts pictures out of the middle and keeps the index at the end"
    hole = mdat + (moov - mdat) // 2
    whole.write_bytes(data[:hole] + bytes(moov - hole) + data[moov:])
    source = open_video(whole)
    read = [read_number(frame) for _, frame in source.frames()]
    assert 10 <= len(read) < 40
    assert read[:10] == list(range(10))
    assert source.num_frames == len(read)
    assert source.broken


def test_a_stream_cut_off(tmp_path):
    path = cut(write_video(tmp_path / "a.mkv", [numbered_frame(i) for i in range(40)]), 0.6)
    source = open_video(path)
    read = [read_number(frame) for _, frame in source.frames()]
    assert 5 < len(read) < 40
    assert source.num_frames == len(read)
    assert read[:-1] == list(range(len(read) - 1))


def bad_files(folder: Path) -> dict[str, Path]:
    good = write_video(folder / "good.mp4", [numbered_frame(i) for i in range(8)])
    names = {name: folder / f"{name}.mp4" for name in ("truncated", "empty", "text", "lfs", "noise", "playlist")}
    shutil.copy(good, names["truncated"])
    cut(names["truncated"], 0.5)
    names["empty"].touch()
    names["text"].write_text("<html>404 not found</html>\n" * 20)
    names["lfs"].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    names["noise"].write_bytes(np.random.default_rng(0).bytes(5000))
    names["playlist"].write_text("ffconcat version 1.0\nfile good.mp4\n")
    names["audio"] = write_audio(folder / "audio.m4a", np.zeros(16000, np.float32))
    names["missing"] = folder / "missing.mp4"
    names["folder"] = folder / "nothing"
    names["folder"].mkdir()
    names["image"] = folder / "bad.jpg"
    names["image"].write_bytes(b"\xff\xd8\xff not an image")
    return names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("truncated", "moov"),
        ("empty", "0 bytes"),
        ("text", "text of .* beginning '<html>"),
        ("lfs", "Git LFS pointer"),
        ("noise", "bytes beginning"),
        ("playlist", "beginning 'ffconcat"),  # it would make the reader open other files
        ("audio", "found 1 audio track and no video; expected a video track"),
        ("missing", "no such file"),
        ("folder", "without frame images; found nothing"),
        ("image", "none of which can be read"),
    ],
)
def test_errors_say_what_was_found(tmp_path, name, message, capfd):
    with pytest.raises(UnreadableVideoError, match=message):
        open_video(bad_files(tmp_path)[name])
    assert capfd.readouterr() == ("", ""), "decoders must not print"


@pytest.mark.parametrize(
    ("limits", "message"), [(VideoLimits(max_pixels=96 * 63), "96 x 64"), (VideoLimits(max_frames=39), "40 frames")]
)
def test_limits(video, limits, message):
    with pytest.raises(UnreadableVideoError, match=message):
        open_video(video, limits=limits)


def test_limit_on_a_container_that_does_not_count(tmp_path):
    path = write_video(tmp_path / "a.mkv", [numbered_frame(i) for i in range(12)])
    source = open_video(path, limits=VideoLimits(max_frames=10))
    with pytest.raises(UnreadableVideoError, match="at most 10"):
        list(source.frames())


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in (1, 2, 10, 11, 20):
        Image.fromarray(numbered_frame(i)).save(folder / f"{i}.jpg", quality=95)
    (folder / "notes.txt").write_text("no image")
    (folder / "._1.jpg").write_bytes(b"made by a file manager")
    return folder


def test_folder_in_natural_order(images):
    source = open_video(images, fps=10)
    assert (source.num_frames, source.fps, source.width, source.height) == (5, 10, 96, 64)
    assert [(i, read_number(f)) for i, f in source.frames()] == [(0, 1), (1, 2), (2, 10), (3, 11), (4, 20)]
    assert [(i, read_number(f)) for i, f in source.frames([4, 2])] == [(2, 10), (4, 20)]
    assert np.allclose(source.timestamps, [0, 0.1, 0.2, 0.3, 0.4])
    with pytest.raises(IndexError):
        list(source.frames([5]))


@pytest.mark.parametrize("broken", [1, 2])
def test_a_broken_image_among_them_leaves_its_number_out(images, broken):
    file = images / f"{broken}.jpg"
    file.write_bytes(file.read_bytes()[:300])
    source = open_video(images)
    expected = [(0, 1), (1, 2), (2, 10), (3, 11), (4, 20)]
    expected.pop(broken - 1)
    assert [(i, read_number(f)) for i, f in source.frames()] == expected
    assert (source.broken, source.num_frames) == (1, 5)


def test_a_folder_of_broken_images_is_an_error(images):
    for file in images.glob("[0-9]*.jpg"):
        file.write_bytes(file.read_bytes()[:400])
    with pytest.raises(UnreadableVideoError, match="none of"):
        list(open_video(images).frames())


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_a_still_is_a_clip_of_one_frame_and_upright(tmp_path, kind):
    path = tmp_path / f"still.{kind}"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: turn clockwise to see it upright
    Image.fromarray(numbered_frame(21)).save(path, exif=exif, quality=95)
    source = open_video(path, max_side=48)
    assert (source.num_frames, source.width, source.height) == (1, 32, 48)
    [(index, frame)] = source.frames()
    upright = np.rot90(numbered_frame(21), -1)[::2, ::2]
    assert (index, source.picture_note) == (0, "")
    assert np.abs(frame.astype(int) - upright).mean() < 12


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20000, 20000)).save(path)
    assert path.stat().st_size < 100_000
    with pytest.raises(UnreadableVideoError, match="400000000 pixels"):
        open_video(path)


def write_animation(path: Path) -> Path:
    first, *others = [Image.fromarray(numbered_frame(i)) for i in range(3)]
    first.save(path, save_all=True, append_images=others)
    return path


def write_pixels(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "pixels"), [("a.png", np.uint16), ("a.tif", np.uint16), ("swapped.tif", np.dtype(">u2"))]
)
def test_the_range_of_16_bits_becomes_that_of_8(tmp_path, name, pixels):
    grey = np.arange(256, dtype=np.uint8).reshape(8, 32)
    path = write_pixels(tmp_path / name, (grey.astype(np.uint16) * 257).astype(pixels))
    [(_, frame)] = open_video(path).frames()
    assert np.array_equal(frame, np.stack([grey] * 3, axis=-1))


def test_an_image_of_16_bits_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = numbered_frame(21)[..., 0]
    [(_, frame)] = open_video(write_pixels(tmp_path / "a.png", grey.astype(np.uint16) << 8, exif=exif)).frames()
    assert np.array_equal(frame[..., 1], np.rot90(grey, -1))


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("a.tif", lambda path: write_pixels(path, np.ones((8, 8), np.float32)), "found pixels of floating point"),
        ("a.tif", lambda path: write_pixels(path, np.ones((8, 8), np.int32)), "found pixels of 32 bits"),
        ("a.png", write_animation, "found several frames in one PNG file; expected one"),
        ("a.webp", write_animation, "found several frames in one WEBP file; expected one"),
        ("a.tiff", write_animation, "found several frames in one TIFF file; expected one"),
    ],
)
def test_images_of_which_something_would_be_lost_are_refused(tmp_path, images, name, write, words):
    path = write(tmp_path / name)
    with pytest.raises(UnreadableVideoError, match=f"{name}: {words}"):
        open_video(path)
    shutil.copy(path, images / f"3{path.suffix}")  # not the first of them
    with pytest.raises(UnreadableVideoError, match=f"3{path.suffix}: {words}"):
        list(open_video(images).frames())


def test_a_photo_with_a_preview_is_a_still(tmp_path):
    photo, preview = (Image.fromarray(numbered_frame(21, *size)) for size in ((96, 64), (48, 32)))
    photo.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[preview], quality=95)
    [(_, frame)] = open_video(tmp_path / "phone.jpg").frames()
    assert frame.shape == (64, 96, 3)
    assert read_number(frame) == 21


@pytest.mark.parametrize("turns", [0, 1])
def test_images_of_other_sizes_are_scaled_to_the_first_and_it_is_said(images, turns):
    source = RotatedSource(open_video(images, max_side=48), turns)
    list(source.frames())
    assert source.picture_note == ""
    for number, size in ((2, (48, 32)), (10, (32, 32))):
        Image.fromarray(numbered_frame(number, *size)).save(images / f"{number}.jpg", quality=95)
    shapes = {frame.shape for _, frame in source.frames()}
    assert shapes == {(48, 32, 3) if turns else (32, 48, 3)}
    assert source.picture_note == "images of several sizes (1.jpg 96 x 64, 2.jpg 48 x 32), scaled to that of the first"


def tone(seconds: float, rate: int = 16000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def test_sound_of_a_video(tmp_path):
    path = write_video(tmp_path / "s.mp4", [numbered_frame(i) for i in range(25)], audio=tone(1.024))
    audio = read_audio(path)
    assert audio is not None
    assert audio.dtype == np.float32
    assert abs(len(audio) - 16384) <= 2048  # AAC works in packets of 1024
    spectrum = np.abs(np.fft.rfft(audio[2000:14000]))
    assert np.argmax(spectrum) * 16000 / 12000 == pytest.approx(440, abs=2)
    assert np.abs(audio[2000:14000]).max() == pytest.approx(0.5, abs=0.1)
    assert len(read_audio(path, rate=8000)) == pytest.approx(len(audio) / 2, abs=600)  # type: ignore[arg-type]


def test_no_sound_bad_sound_and_too_much_sound(video, tmp_path):
    assert read_audio(video) is None
    (tmp_path / "text.mp4").write_text("no sound")
    with pytest.raises(UnreadableVideoError, match="text of 8 bytes"):
        read_audio(tmp_path / "text.mp4")
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * 8000 * 3))
    with pytest.raises(UnreadableVideoError, match="more than 2 s"):
        read_audio(tmp_path / "long.wav", max_seconds=2)


@real_clips
@pytest.mark.parametrize(
    ("name", "count", "size", "seconds"),
    [
        ("single_face.mp4", 72, (640, 360), 71 / 30),
        ("no_face.mp4", 95, (960, 540), 3.917),  # its container says 98, three of which an edit list hides
        ("face_noface.mov", 169, (960, 540), 6.36),
    ],
)
def test_real_clips(name, count, size, seconds):
    source = open_video(CLIPS / name)
    assert source.num_frames == count
    assert sum(1 for _ in source.frames()) == count
    assert (source.width, source.height) == size
    assert source.timestamps[-1] == pytest.approx(seconds, abs=0.01)
    few = dict(source.frames([0, count - 1]))
    assert all(np.array_equal(frame, few[i]) for i, frame in open_video(CLIPS / name).frames() if i in few)
    audio = read_audio(CLIPS / name)
    assert audio is not None
    assert len(audio) / 16000 == pytest.approx(seconds, abs=0.2)
