from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from data_modules.faces.alignment import box_matrix, template, warp
from data_modules.faces.detection import Detection
from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.extraction import ClipAnnotations, FaceExtractor
from data_modules.faces.lengthening import lengthen_faces
from data_modules.faces.models import FaceModels
from data_modules.faces.network_versions import UNKNOWN, network_versions
from data_modules.faces.settings import FaceSettings
from data_modules.faces.tracker_settings import CostTerm, TrackerSettings, VoteWeights
from data_modules.store.clip_file import FaceFrame, Origin
from data_modules.video.reader import open_video
from tests.videos import numbered_frame, read_number, truth_of, write_video

ANNOTATION = FaceSettings("annotation", size=48, landmarks="annotation")
CROP = FaceSettings("crop", size=64)


def extract(source, settings, annotations=None, models=None):
    return FaceExtractor(settings, models=models).extract(source, annotations)


def test_annotated_faces_become_crops_with_their_truth(tmp_path):
    truth = truth_of(12, hidden=(4,))
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(12)])
    faces = list(extract(open_video(path), ANNOTATION, ClipAnnotations("a", truth)))
    assert [face.index for face in faces] == [i for i in range(12) if i != 4]
    assert [face.intensity for face in faces] == pytest.approx([i / 11 for i in range(12) if i != 4])
    for face in faces:
        assert face.crop.shape == (48, 48, 3)
        assert np.array_equal(face.box, truth.box[face.index])
        assert face.landmarks is not None
        assert face.matrix is not None
        in_frame = truth.landmarks[face.index, :, :2]
        assert in_frame @ face.matrix[:, :2].T + face.matrix[:, 2] == pytest.approx(face.landmarks[:, :2], abs=1e-3)
        eyes = np.stack([face.landmarks[36:42, :2].mean(0), face.landmarks[42:48, :2].mean(0)])
        assert eyes == pytest.approx(template(48, 0.25)[:2], abs=3), "the landmarks are in pixels of the crop"
    shift = faces[1].landmarks[:, :2] - faces[0].landmarks[:, :2]  # type: ignore[index]
    assert np.abs(shift).max() < 1e-2, "the face moves in the frame, not in the crop"


def test_the_crop_shows_what_is_in_the_box(tmp_path):
    """A mark on the face in the frame is where the landmark says it is in the crop."""
    truth, frames = truth_of(6), []
    for i in range(6):
        frame = np.full((64, 96, 3), 90, np.uint8)
        x, y = truth.landmarks[i, 30, :2].round().astype(int)
        frame[y - 1 : y + 2, x - 1 : x + 2] = 255
        frames.append(frame)
    path = write_video(tmp_path / "a.mp4", frames)
    for face in extract(open_video(path), ANNOTATION, ClipAnnotations("a", truth)):
        bright = np.argwhere(face.crop[..., 1] > 190)
        assert bright.mean(0)[::-1] == pytest.approx(face.landmarks[30, :2], abs=1.0)  # type: ignore[index]


def test_whole_frames_are_resized(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(5)])
    faces = list(extract(open_video(path), CROP))
    assert [read_number(face.crop) for face in faces] == list(range(5))
    assert faces[0].landmarks is faces[0].intensity is None


def test_truth_of_another_length_is_an_error(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(5)])
    for count in (4, 6):
        with pytest.raises(ValueError, match=rf"5 frames, but ground truth of {count}"):
            list(extract(open_video(path), ANNOTATION, ClipAnnotations("a", truth_of(count))))


def test_truth_of_another_length_is_an_error_whoever_detects(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(5)])
    settings = FaceSettings("mtcnn", size=32)
    with pytest.raises(ValueError, match="5 frames, but ground truth of 4"):
        list(
            extract(
                open_video(path), settings, ClipAnnotations("a", truth_of(4)), models=FaceModels(RedCornerDetector())
            )
        )


class RedCornerDetector:
    """Finds the red field of `numbered_frame`, and remembers what it saw."""

    name, device = "red", "cpu"

    def __init__(self) -> None:
        self.seen: list[int] = []

    def detect(self, frames):
        self.seen += [read_number(frame) for frame in frames]
        return [[self._field(frame)] for frame in frames]

    def _field(self, frame):
        y, x = np.nonzero((frame[..., 0] > 150) & (frame[..., 1] < 80))
        return Detection(np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float32), 0.97)


@pytest.mark.parametrize(("every", "looks"), [(1, list(range(40))), (4, list(range(0, 40, 4))), (13, [0, 13, 26, 39])])
def test_a_detector_looks_at_each_nth_frame_and_all_get_crops(tmp_path, every, looks):
    path, detector = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(40)]), RedCornerDetector()
    settings = FaceSettings("mtcnn", size=32, margin=0.0, every=every)
    faces = list(extract(open_video(path), settings, models=FaceModels(detector)))
    assert detector.seen == looks
    assert [face.index for face in faces] == list(range(40))
    for face in faces:
        assert face.box == pytest.approx([0, 32, 48, 64], abs=2)
        assert face.crop[8:-8, 4:-4, 0].mean() > 150
        assert face.score == pytest.approx(0.97)


def test_frames_are_not_kept_in_memory(tmp_path, monkeypatch):
    """Frames that are alive at once: a detector's batch at most, however long the clip is."""
    import data_modules.faces.extraction as module

    monkeypatch.setattr(module, "BATCH", 4)
    sizes: list[int] = []
    detector = RedCornerDetector()
    detect: Callable = detector.detect  # type: ignore[type-arg]
    monkeypatch.setattr(detector, "detect", lambda frames: sizes.append(len(frames)) or detect(frames))
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(30)])
    iterator = extract(open_video(path), FaceSettings("mtcnn", size=32, every=1), models=FaceModels(detector))
    assert next(iterator).index == 0
    assert max(sizes) == 4
    assert sum(sizes) == 30


def test_places_between_looks_are_marked(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(9)])
    faces = list(
        extract(open_video(path), FaceSettings("mtcnn", size=32, every=4), models=FaceModels(RedCornerDetector()))
    )
    assert [face.index for face in faces if face.origin is Origin.DETECTED] == [0, 4, 8]
    assert [face.index for face in faces if face.origin is Origin.TRACKED] == [1, 2, 3, 5, 6, 7]


class SometimesDetector(RedCornerDetector):
    """Finds nothing in some frames."""

    def __init__(self, blind: range) -> None:
        super().__init__()
        self.blind = blind

    def detect(self, frames):
        return [[] if read_number(f) in self.blind else [self._field(f)] for f in frames]


def test_short_gaps_are_bridged_and_longer_ones_are_gaps(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(40)])
    settings = FaceSettings("mtcnn", size=32, every=1, max_gap=6)
    bridged = list(extract(open_video(path), settings, models=FaceModels(SometimesDetector(range(10, 15)))))
    assert [face.index for face in bridged] == list(range(40))
    assert [face.index for face in bridged if face.origin is Origin.TRACKED] == list(range(10, 15))
    gap = list(extract(open_video(path), settings, models=FaceModels(SometimesDetector(range(10, 20)))))
    assert [face.index for face in gap] == [*range(10), *range(20, 40)]


class RoundaboutDetector(RedCornerDetector):
    """A large face in the first half of the clip, on the left, and a small one in all of it, on the right."""

    def detect(self, frames):
        small, large = ([80, 10, 88, 18], [2, 2, 42, 42])
        return [
            [Detection(np.array(box, np.float32), 0.9) for box in ([large] * (read_number(frame) < 20) + [small])]
            for frame in frames
        ]


def test_the_votes_weights_choose_the_main_face(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(40)])
    starts = {}
    for name, vote in {"often": VoteWeights(1, 0, 0), "large": VoteWeights(0, 1, 0)}.items():
        settings = FaceSettings("mtcnn", size=32, every=1, tracking=TrackerSettings(vote=vote))
        faces = list(extract(open_video(path), settings, models=FaceModels(RoundaboutDetector())))
        starts[name] = [float(face.box[0]) for face in faces[:20]]
    assert starts == {"often": [80.0] * 20, "large": [2.0] * 20}


class SwappingDetector(RedCornerDetector):
    """Two equal boxes side by side, so close that only who is in them says whose they are."""

    def detect(self, frames):
        return [[Detection(np.array([x, 8, x + 32, 40], np.float32), 0.9) for x in (8, 16)] for _ in frames]


class SwappingFaces:
    """Embeds who is in a box: the two change places from frame 10 on."""

    name, device = "swap", "cpu"

    def __call__(self, frame, detection):
        left = detection.box[0] < 12
        return np.float32([1, 0]) if left == (read_number(frame) < 10) else np.float32([0, 1])


def test_the_embedding_follows_who_changes_places(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(20)])
    alike = CostTerm(0.0, 2.0)  # colour and position tell nothing
    tracking = TrackerSettings(colour=alike, position=alike, embedder="insightface")
    settings = FaceSettings("mtcnn", size=32, every=1, tracking=tracking)
    for embedder, second in ((None, [8.0]), (SwappingFaces(), [16.0])):
        models = FaceModels(SwappingDetector(), embedder=embedder)
        faces = list(extract(open_video(path), settings, models=models))
        places = [float(face.box[0]) for face in faces]
        assert places == [8.0] * 10 + second * 10 or places == [16.0] * 10 + [24.0 - second[0]] * 10


def test_an_embedder_that_is_named_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_WEIGHTS", str(tmp_path))
    settings = FaceSettings("mtcnn", tracking=TrackerSettings(embedder="insightface"))
    with pytest.raises(DetectorNotFoundError, match="recognition needs its weights w600k_r50"):
        FaceModels.from_settings(settings, "cpu")
    assert network_versions(settings)["embedder"] == UNKNOWN
    assert FaceModels.from_settings(replace(settings, detector="crop"), "cpu").embedder is None


def test_the_person_is_cut_or_the_whole_frame(tmp_path):
    truth = truth_of(6)
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(6)])
    for person in ("annotation", "frame"):
        settings = replace(ANNOTATION, person=person)
        faces = list(extract(open_video(path), settings, ClipAnnotations("a", truth)))
        assert all(face.person.shape == (48, 48, 3) for face in faces)  # type: ignore[union-attr]
        if person == "frame":
            assert [read_number(face.person) for face in faces] == list(range(6))


class PersonDetector(RedCornerDetector):
    """The person is the picture's left half; somebody else fills the right one."""

    def detect(self, frames):
        height, width = frames[0].shape[:2]
        boxes = ([width / 2, 0, width, height], [0, 0, width / 2, height])
        return [[Detection(np.array(box, np.float32), 0.9) for box in boxes] for _ in frames]


def test_the_person_around_the_face_is_chosen(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(6)])
    models = FaceModels(RedCornerDetector(), PersonDetector())
    faces = list(
        extract(open_video(path), FaceSettings("mtcnn", size=32, every=4, person="insightface"), models=models)
    )
    assert len(faces) == 6
    for face in faces:  # a square of 64 pixels about the left half: the red field fills its lower half
        assert face.person is not None
        assert face.person[20:30, 8:22, 0].mean() > 150


class PersonAndPicture(PersonDetector):
    """Finds the face's person and, in the place of the other one, a box around the whole picture."""

    def detect(self, frames):
        found = super().detect(frames)
        height, width = frames[0].shape[:2]
        return [[own, Detection(np.array([0, 0, width, height], np.float32), 0.9)] for _, own in found]


@pytest.mark.parametrize(
    ("person", "half"), [("insightface", True), ("insightface_smallest", False), ("insightface_tracked", True)]
)
def test_which_box_is_the_persons_has_a_name(tmp_path, person, half):
    """Of two boxes that hold the face, the left half and the whole picture."""
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(6)])
    models = FaceModels(RedCornerDetector(), PersonAndPicture())
    settings = FaceSettings("mtcnn", size=32, every=4, person=person)
    faces = list(extract(open_video(path), settings, models=models))
    width, height = open_video(path).width, open_video(path).height
    box = np.array([0, 0, width / 2 if half else width, height], np.float32)
    assert len(faces) == 6
    for face, (_, frame) in zip(faces, open_video(path).frames(), strict=True):
        np.testing.assert_array_equal(face.person, warp(frame, box_matrix(box, 32, 0.0), 32))


class HalfLandmarks:
    """Finds landmarks in even frames."""

    name, device = "half", "cpu"

    def find(self, frame, face):
        if read_number(frame) % 2:
            return None
        return np.concatenate([np.tile(face.box[:2], (68, 1)), np.ones((68, 1))], axis=1).astype(np.float32)


def test_landmarks_are_in_pixels_of_the_crop(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered_frame(i) for i in range(6)])
    models = FaceModels(RedCornerDetector(), landmarks=HalfLandmarks())
    settings = FaceSettings("mtcnn", size=32, margin=0.0, every=1, landmarks="mesh")
    for face in extract(open_video(path), settings, models=models):
        assert face.landmarks is not None
        assert np.isnan(face.landmarks).all() == bool(face.index % 2)
        if not face.index % 2:  # the box is 48 x 32: in a square crop of its longer side it begins at the left border
            assert face.landmarks[0, 0] == pytest.approx(-0.5, abs=1)
            assert face.landmarks[0, 1] == pytest.approx(32 / 6 - 0.5, abs=1)


def face(index: int) -> FaceFrame:
    crop = np.full((32, 32, 3), 10 * index, np.uint8)
    crop[8:20, 4 + index : 16 + index] = 255
    box = np.array([index, 0, 10 + index, 10], np.float32)
    points, matrix = np.full((68, 3), index, np.float32), np.full((2, 3), index, np.float32)
    return FaceFrame(index, crop, box, 0.5 + index / 10, points, index / 4, matrix=matrix)


def test_short_clips_are_lengthened_and_say_so():
    longer = list(lengthen_faces(iter([face(0), face(1), face(2)]), 5))
    assert [f.origin for f in longer] == [
        Origin.DETECTED,
        Origin.INTERPOLATED,
        Origin.DETECTED,
        Origin.INTERPOLATED,
        Origin.DETECTED,
    ]
    assert [f.intensity for f in longer] == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])
    assert [float(f.landmarks[0, 0]) for f in longer] == pytest.approx([0, 0.5, 1, 1.5, 2])  # type: ignore[index]
    assert [float(f.box[0]) for f in longer] == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert [float(f.matrix[1, 2]) for f in longer] == pytest.approx([0, 0.5, 1, 1.5, 2])  # type: ignore[index]
    assert list(lengthen_faces(iter([face(0), face(1), face(2)]), 3))[1].index == 1
    assert len(list(lengthen_faces(iter([face(i) for i in range(7)]), 3))) == 7
    assert list(lengthen_faces(iter([]), 5)) == []
    (first, *repeated) = lengthen_faces(iter([face(3)]), 4)
    assert first.origin is Origin.DETECTED
    assert {f.origin for f in repeated} == {Origin.INTERPOLATED}
    assert len(repeated) == 3
