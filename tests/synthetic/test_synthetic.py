"""The synthetic data set: the seed determines the frames, the ground truth is correct, the files are complete."""

import csv
import os
from dataclasses import replace

import av
import numpy as np
import pytest
import scipy.signal

from data_modules import labels
from data_modules.datasets.dataset import DatasetNotFoundError
from data_modules.datasets.synthetic import Synthetic, SyntheticStills
from data_modules.faces.ground_truth import FrameTruth
from data_modules.synthetic import voice
from data_modules.synthetic.action_units import NAMES, PROTOTYPES, sample_apex, unit
from data_modules.synthetic.clip import (
    ClipSettings,
    StillSettings,
    get_person,
    plan_clip,
    render_clip,
    render_plan,
    render_still,
)
from data_modules.synthetic.dynamics import apex_moments, blinks, short_expression, speech
from data_modules.synthetic.face_model import MEAN, MIRROR, Pose, Shape, deform, project
from data_modules.synthetic.person import sample_person
from data_modules.synthetic.scene import LIKELY, choose_background, paint_body
from data_modules.synthetic.writer import write_all
from data_modules.video.audio_track import read_audio


def make_units(**strengths: float) -> np.ndarray:
    units = np.zeros((1, len(NAMES)), np.float32)
    for name, strength in strengths.items():
        units[0, unit(name)] = strength
    return units


def moved_points(**strengths: float) -> np.ndarray:
    return deform(MEAN, make_units(**strengths))[0]


def pose(yaw=0.0, pitch=0.0, roll=0.0, scale=1.0, centre=(128.0, 128.0)) -> Pose:
    angles = (np.deg2rad(np.array([angle], np.float32)) for angle in (yaw, pitch, roll))
    return Pose(*angles, np.array([centre], np.float32), np.array([scale], np.float32))


class TestFaceModel:
    def test_mean_face_is_symmetric_and_in_the_order_of_ibug(self):
        np.testing.assert_allclose(MEAN[MIRROR] * (-1, 1, 1), MEAN, atol=1e-4)
        assert MEAN[36:42, 0].max() < 0 < MEAN[42:48, 0].min()  # the subject's right eye comes first
        assert MEAN[17:27, 1].max() < MEAN[36:48, 1].min() < MEAN[33, 1] < MEAN[48:68, 1].min() < MEAN[8, 1]
        assert MEAN[:, 2].argmin() == 30  # the tip of the nose is nearest to the camera

    @pytest.mark.parametrize(
        ("name", "point", "axis", "sign"),
        [
            ("AU1", 21, 1, -1), ("AU2", 18, 1, -1), ("AU4", 21, 1, 1), ("AU5", 37, 1, -1), ("AU6", 41, 1, -1),
            ("AU7", 37, 1, 1), ("AU9", 31, 1, -1), ("AU10", 51, 1, -1), ("AU12", 48, 1, -1), ("AU14", 48, 0, -1),
            ("AU15", 48, 1, 1), ("AU17", 57, 1, -1), ("AU20", 48, 0, -1), ("AU23", 48, 0, 1), ("AU24", 57, 1, -1),
            ("AU25", 66, 1, 1), ("AU26", 8, 1, 1), ("AU43", 37, 1, 1),
        ],
    )  # fmt: skip
    def test_every_unit_moves_its_part_in_its_direction(self, name, point, axis, sign):
        move = moved_points(**{name: 1.0}) - MEAN
        assert sign * move[point, axis] > 1
        np.testing.assert_allclose(move[MIRROR] * (-1, 1, 1), move, atol=1e-4)

    def test_units_change_the_distances_that_they_are_named_after(self):
        def mouth_width(p):
            return p[54, 0] - p[48, 0]

        def eye_opening(p):
            return p[41, 1] - p[37, 1]

        assert mouth_width(moved_points(AU12=1)) > 1.2 * mouth_width(MEAN)
        assert mouth_width(moved_points(AU20=1)) > 1.2 * mouth_width(MEAN)
        assert mouth_width(moved_points(AU23=1)) < mouth_width(MEAN)
        assert eye_opening(moved_points(AU5=1)) > 1.3 * eye_opening(MEAN)
        assert eye_opening(moved_points(AU7=1)) < eye_opening(MEAN)
        assert 0 <= eye_opening(moved_points(AU43=1)) < 1
        assert moved_points(AU26=1)[8, 1] > MEAN[8, 1] + 10

    def test_lids_and_lips_never_cross(self):
        rng = np.random.default_rng(0)
        for _ in range(30):
            units = rng.uniform(0, 1, (20, len(NAMES))).astype(np.float32)
            points = deform(Shape.sample(rng).points(), units)
            for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65)):
                assert (points[:, upper, 1] <= points[:, lower, 1] + 1e-3).all()

    def test_projection_turns_in_the_documented_direction(self):
        front, left, down = (project(MEAN[None], p)[0] for p in (pose(), pose(yaw=30), pose(pitch=15)))
        outline = front[[0, 16], 0].mean()
        assert front[30, 0] == pytest.approx(outline, abs=1e-3)
        assert left[30, 0] > left[[0, 16], 0].mean() + 20  # the nose goes to the image's right
        assert down[30, 1] > front[30, 1] + 10
        rolled = project(MEAN[None], pose(roll=90))[0]
        assert abs(rolled[36, 0] - rolled[45, 0]) < 1e-2  # the eyes stand one above the other
        assert rolled[45, 1] > rolled[36, 1]

    def test_size_and_place_follow_scale_and_centre(self):
        small, large = project(MEAN[None], pose())[0], project(MEAN[None], pose(scale=2, centre=(20, 30)))[0]
        np.testing.assert_allclose((small[:, :2] - 128) * 2, large[:, :2] - (20, 30), atol=1e-3)


class TestActing:
    def test_classes_differ_in_their_units(self):
        assert set(PROTOTYPES) == set(labels.SEVEN)
        rng = np.random.default_rng(0)
        means = np.stack([np.mean([sample_apex(e, rng) for _ in range(50)], 0) for e in labels.SEVEN])
        distance = np.linalg.norm(means[:, None] - means[None], axis=-1) + 10 * np.eye(7)
        assert distance.min() > 1
        assert ((means >= 0) & (means <= 1)).all()

    @pytest.mark.parametrize("frames", [8, 20, 60, 150])
    def test_short_expressions_are_mostly_away_from_the_middle(self, frames):
        rng = np.random.default_rng(0)
        seen = 0
        for _ in range(200):
            moments = apex_moments(frames, rng)
            intensity = np.max([short_expression(frames, m, rng).intensity(frames) for m in moments], 0)
            assert intensity.max() > 0.6  # every clip shows it somewhere
            seen += intensity[frames // 2] > 0.5
        assert seen < 0.35 * 200

    def test_blinks_close_the_eyes_now_and_then(self):
        closed = blinks(2000, np.random.default_rng(0))
        assert closed.max() == 1
        assert 0.01 < (closed > 0.5).mean() < 0.15

    def test_loudness_and_mouth_follow_the_same_syllables(self):
        rng = np.random.default_rng(0)
        words = speech(4.0, 4.5, rng)
        audio = voice.speak(words, 4.0, voice.Voice(120, 0.5), rng)
        assert audio.shape == (4 * voice.RATE,)
        power = np.sqrt((audio.reshape(100, -1) ** 2).mean(1))  # a value per frame
        assert np.corrcoef(power, words.opening(100))[0, 1] > 0.6
        assert np.abs(audio).max() == pytest.approx(0.5, abs=0.05)

    def test_pitch_is_the_one_asked_for(self):
        rng = np.random.default_rng(0)
        words = speech(3.0, 4.5, rng)
        for pitch in (110.0, 220.0):
            power = np.abs(np.fft.rfft(voice.speak(words, 3.0, voice.Voice(pitch, 0.5), rng))) ** 2
            frequency = np.fft.rfftfreq(3 * voice.RATE, 1 / voice.RATE) / pitch
            first = power[(frequency > 0.9) & (frequency < 1.16)].mean()  # the melody's range
            between = power[(frequency > 1.3) & (frequency < 1.6)].mean()
            assert first > 10 * between

    def test_a_tense_voice_is_brighter_than_a_breathy_one(self):
        def brightness(tension):
            rng = np.random.default_rng(0)
            power = (
                np.abs(np.fft.rfft(voice.speak(speech(3.0, 4.5, rng), 3.0, voice.Voice(120, tension=tension), rng)))
                ** 2
            )
            frequency = np.fft.rfftfreq(3 * voice.RATE, 1 / voice.RATE)
            harmonics = np.abs(frequency / 120 - np.round(frequency / 120)) < 0.12  # the voice, not the breath
            return power[(frequency > 1500) & harmonics].sum() / power[(frequency < 600) & harmonics].sum()

        dull, plain, tense = (brightness(tension) for tension in (-1.0, 0.0, 1.0))
        assert dull < 0.8 * plain
        assert plain < 0.9 * tense

    def test_melody_rises_and_falls(self):
        def ends(melody):
            rng = np.random.default_rng(0)
            audio = voice.speak(speech(4.0, 4.5, rng), 4.0, voice.Voice(150, melody=melody), rng)
            return [period(part) for part in (audio[: len(audio) // 4], audio[-len(audio) // 4 :])]

        def period(part):  # in samples, at the peak of the autocorrelation
            correlation = scipy.signal.correlate(part, part, method="fft")[len(part) - 1 :]
            return 70 + int(correlation[70:180].argmax())

        begin, end = ends(1.0)
        assert begin > 1.1 * end
        begin, end = ends(-1.0)
        assert end > 1.1 * begin

    def test_emotions_sound_as_described(self):
        person, still = sample_person(np.random.default_rng(0)), np.random.default_rng(0)
        voices = {e: voice.sample_voice(person, e, voice.AROUSAL[e], 0.0, still) for e in labels.SEVEN}
        assert max(voices, key=lambda e: voices[e].tension) == labels.ANGER
        assert min(voices, key=lambda e: voices[e].tension) == labels.SADNESS
        assert min(voices, key=lambda e: voices[e].pitch) == labels.SADNESS
        assert max(voices, key=lambda e: voices[e].tremor) == labels.FEAR
        assert max(voices, key=lambda e: voices[e].melody) == labels.SURPRISE
        neutral = voices[labels.NEUTRAL]
        assert (neutral.tension, neutral.melody, neutral.tremor) == (0, 0, 0)


class TestClip:
    @pytest.mark.parametrize("difficulty", ["lab", "wild", "occluded"])
    def test_same_settings_same_clip(self, difficulty):
        settings = ClipSettings(difficulty, 3, "fear")
        first, again = render_clip(settings), render_clip(settings)
        np.testing.assert_array_equal(first.frames, again.frames)
        np.testing.assert_array_equal(first.truth.landmarks, again.truth.landmarks)
        assert (first.audio is None) == (again.audio is None)
        if first.audio is not None and again.audio is not None:
            np.testing.assert_array_equal(first.audio, again.audio)
        for other in (replace(settings, seed=1), replace(settings, take=1), replace(settings, subject=4)):
            other_frames = render_clip(other).frames
            assert other_frames.shape != first.frames.shape or (other_frames != first.frames).any()

    @pytest.mark.parametrize("difficulty", ["lab", "wild", "occluded"])
    @pytest.mark.parametrize("emotion", labels.SEVEN)
    def test_truth_is_consistent(self, difficulty, emotion):
        clip = render_clip(ClipSettings(difficulty, 11, emotion))
        truth, count = clip.truth, len(clip.frames)
        assert clip.frames.shape == (count, 256, 256, 3)
        assert clip.frames.dtype == np.uint8
        low, high = (24, 56) if difficulty == "lab" else (8, 150)
        assert low <= count <= high
        for name, shape in (
            ("intensity", ()), ("visible", ()), ("box", (4,)), ("landmarks", (68, 3)), ("person_box", (4,)),
            ("action_units", (len(NAMES),)),
        ):  # fmt: skip
            array = getattr(truth, name)
            assert array.shape == (count, *shape)
            assert array.dtype == (np.bool_ if name == "visible" else np.float32)
        assert ((truth.action_units >= 0) & (truth.action_units <= 1)).all()
        assert truth.intensity.max() == 0 if emotion == "neutral" else truth.intensity.max() > 0.7
        points, box = truth.landmarks[..., :2], truth.box[:, None]
        assert (points >= box[..., :2] - 1e-3).all()
        assert (points <= box[..., 2:] + 1e-3).all()
        middle = 0.5 * (truth.box[:, :2] + truth.box[:, 2:])
        assert ((middle > 0) & (middle < 256)).all(1)[truth.visible].all()
        assert ((truth.person_box >= 0) & (truth.person_box <= 256)).all()
        if clip.audio is not None:
            assert len(clip.audio) == pytest.approx(count / 25 * voice.RATE, abs=1)

    def test_landmarks_lie_where_things_are_painted(self):
        """The open mouth is dark, the pupils are darker than the white beside them."""
        clip = render_clip(ClipSettings("lab", 0, "surprise"))
        t = int(clip.truth.intensity.argmax())
        image, points = clip.frames[t].astype(float).mean(-1), clip.truth.landmarks[t, :, :2]

        def at(point):
            x, y = np.rint(point).astype(int)
            return image[y - 1 : y + 2, x - 1 : x + 2].mean()

        assert at(points[[62, 66]].mean(0)) < 0.75 * at(points[[3, 31]].mean(0))
        assert at(points[36:42].mean(0)) < 0.75 * at(0.75 * points[36] + 0.25 * points[39])

    def test_expressions_start_neutral_in_the_laboratory(self):
        for subject in range(3):
            intensity = render_clip(ClipSettings("lab", subject, "happiness")).truth.intensity
            assert intensity[0] == 0
            assert intensity[-1] == intensity.max()
            assert (np.diff(intensity) >= -1e-6).all()

    def test_weak_expressions_are_the_same_clips_with_less_of_the_expression(self):
        full, weak = (plan_clip(ClipSettings("lab", 0, "happiness", strength=strength)) for strength in (1.0, 0.3))
        np.testing.assert_allclose(weak.intensity, 0.3 * full.intensity, rtol=1e-6)
        smile = unit("AU12")
        assert 0.15 < weak.performance.units[-1, smile] / full.performance.units[-1, smile] < 0.45
        np.testing.assert_array_equal(weak.performance.pose.yaw, full.performance.pose.yaw)
        np.testing.assert_array_equal(weak.audio, full.audio)
        same = [plan_clip(ClipSettings("lab", 0, "neutral", strength=strength)) for strength in (1.0, 0.3)]
        np.testing.assert_array_equal(same[0].performance.units, same[1].performance.units)

    def test_unknown_emotion_is_named(self):
        with pytest.raises(ValueError, match="boredom"):
            render_clip(ClipSettings("lab", 0, "boredom"))

    def test_some_wild_clips_are_silent_or_faceless(self):
        plans = [plan_clip(ClipSettings("wild", s, e, size=32)) for s in range(30) for e in labels.SEVEN]
        poses = [plan.performance.pose for plan in plans]
        silent = np.mean([plan.audio is None for plan in plans])
        faceless = np.mean([(pose.rotation[:, 2, 2] < 0).all() or (pose.centre[:, 1] < 0).all() for pose in poses])
        assert 0.08 < silent < 0.17
        assert 0.01 < faceless < 0.08
        lengths = [len(pose.yaw) for pose in poses]
        assert min(lengths) < 30
        assert max(lengths) > 100

    @pytest.mark.parametrize("emotion", ["happiness", "fear"])
    def test_occluded_faces_show_little_below_the_brows(self, emotion):
        """What an expression changes there, compared with the same face without sunglasses and mask."""
        plan = plan_clip(ClipSettings("occluded", 5, emotion, size=128))
        still = replace(plan, performance=replace(plan.performance, units=0 * plan.performance.units))
        t, changes = int(plan.intensity.argmax()), []
        for staging in (plan.staging, replace(plan.staging, sunglasses=False, mask=None)):
            acted, calm = (render_plan(replace(each, staging=staging)) for each in (plan, still))
            points = acted.truth.landmarks[t, 36:, :2]
            (left, top), (right, bottom) = np.rint(points.min(0)).astype(int), np.rint(points.max(0)).astype(int)
            changed = np.abs(acted.frames[t].astype(int) - calm.frames[t])
            changes.append(changed[top:bottom, left:right].mean())
        assert changes[0] < 0.2 * changes[1]

    def test_scene_and_posture_depend_on_the_emotion_of_occluded_faces(self):
        plans = [plan_clip(ClipSettings("occluded", s, e, size=32)) for s in range(12) for e in ("fear", "sadness")]
        raised = np.array([plan.staging.posture for plan in plans]).reshape(12, 2)
        assert (raised[:, 0] > raised[:, 1]).mean() > 0.9
        rng = np.random.default_rng(0)
        rarely, often = ([choose_background("fear", rng, p) in LIKELY["fear"] for _ in range(300)] for p in (0.25, 0.9))
        assert np.mean(often) > np.mean(rarely) + 0.2
        low, high = (paint_body(64, (90, 90, 90), False, np.array((32, 16)), 0.2, np.ones(3), p) for p in (-14, 14))
        assert high.weight.sum() > low.weight.sum()
        assert plan_clip(ClipSettings("wild", 0, "fear", size=32)).staging.posture == 0

    def test_stills_show_other_people(self):
        stills = [get_person("still", number, 0).shape for number in range(20)]
        videos = [get_person(kind, number, 0).shape for kind in ("lab", "wild", "occluded") for number in range(20)]
        assert not set(stills) & set(videos)
        assert len(set(videos)) == 60
        assert len(set(stills)) == 20

    def test_stills_are_strong_enough_to_learn_from(self):
        for number, emotion in enumerate(labels.SEVEN):
            still = render_still(StillSettings(number, 5, emotion))
            assert still.frames.shape == (1, 256, 256, 3)
            assert still.audio is None
            assert still.truth.visible.all()
            low, high = (0, 0) if emotion == "neutral" else (0.5, 1)
            assert low <= still.truth.intensity[0] <= high


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    dataset = Synthetic(tmp_path_factory.mktemp("synthetic"), subjects=4, folds=4, workers=1)
    dataset.prepare()
    return dataset


class TestFiles:
    def test_a_strength_has_a_folder_of_its_own(self, tmp_path):
        weak = Synthetic(tmp_path, subjects=1, folds=1, strength=0.3, workers=1)
        assert weak.folder.name == "lab0.3-1x1-0-v3"
        assert {settings.strength for settings, _ in weak.wanted()} == {0.3}
        for wrong in (0.0, 1.5):
            with pytest.raises(ValueError, match=rf"strength of expressions is {wrong:g}; expected one above 0"):
                Synthetic(tmp_path, strength=wrong)

    def test_layout_and_manifest(self, prepared):
        assert prepared.folder.name == "lab-4x1-0-v3"
        records = prepared.records()
        assert len(records) == 4 * 7
        assert records[0].clip_id == "s000-anger-0"
        with (prepared.folder / "manifest.csv").open() as file:
            assert len(list(csv.DictReader(file))) == 28
        for record in records:
            assert (prepared.folder / record.path).is_file()
            assert (prepared.folder / record.truth).is_file()

    def test_folds_are_exclusive_in_subjects_and_cover_all(self, prepared):
        tested = []
        for fold in "1234":
            records = replace(prepared, fold=fold).records()
            train = {r.subject for r in records if r.split == "train"}
            test = {r.subject for r in records if r.split == "test"}
            assert len(train) == 3
            assert not train & test
            assert {r.fold for r in records} == {fold}
            tested += sorted(test)
        assert sorted(tested) == ["s000", "s001", "s002", "s003"]

    @pytest.mark.parametrize("fold", ["0", "5", "all"])
    def test_other_folds_are_refused(self, prepared, fold):
        with pytest.raises(ValueError, match="from 1 to 4"):
            replace(prepared, fold=fold).records()

    def test_videos_decode_as_they_were_rendered(self, prepared):
        record = next(r for r in prepared.records() if r.clip_id == "s001-happiness-0")
        rendered = render_clip(ClipSettings("lab", 1, "happiness"))
        truth = FrameTruth.load(prepared.folder / record.truth)
        np.testing.assert_array_equal(truth.landmarks, rendered.truth.landmarks)
        with av.open(str(prepared.folder / record.path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert video.codec_context.name == "h264"
            assert audio.codec_context.name == "aac"
            assert audio.rate == voice.RATE
            assert audio.channels == 1
            assert float(video.average_rate) == pytest.approx(25, abs=0.01)
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video)])
        assert len(frames) == len(truth.intensity) == len(rendered.frames)
        error = np.abs(frames.astype(int) - rendered.frames).mean()
        assert error < 5
        samples = read_audio(prepared.folder / record.path)
        assert len(samples) / voice.RATE == pytest.approx(len(frames) / 25, abs=0.15)
        likeness = scipy.signal.correlate(samples, rendered.audio)
        assert likeness.argmax() == len(rendered.audio) - 1  # no sample late

    def test_only_what_is_missing_is_rendered(self, prepared):
        clips = prepared.folder / "clips"
        before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in clips.iterdir()}
        (clips / "s002-fear-0.mp4").unlink()
        temporary = clips / ".s002-fear-0-half.mp4"
        temporary.write_bytes(b"left by a killed run")
        os.utime(temporary, (0, 0))
        (prepared.folder / "manifest.csv").unlink()
        with pytest.raises(DatasetNotFoundError, match=r"manifest\.csv"):
            prepared.records()
        prepared.prepare()
        after = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in clips.iterdir()}
        assert after.keys() == before.keys()
        changed = {name for name in before if before[name][0] != after[name][0]}
        assert changed == {"s002-fear-0.mp4", "s002-fear-0.safetensors"}
        assert all(before[name][1] == after[name][1] for name in before)  # and it is the same again
        assert len(prepared.records()) == 28

    def test_number_of_processes_changes_nothing(self, tmp_path):
        folders = []
        for workers in (1, 2):
            stills = SyntheticStills(tmp_path / str(workers), images=14, subjects=4, workers=workers)
            stills.prepare()
            folders.append({path.name: path.read_bytes() for path in (stills.folder / "images").iterdir()})
        assert len(folders[0]) == 28
        assert folders[0] == folders[1]

    def test_a_clip_that_cannot_be_rendered_is_named(self, tmp_path):
        bad = ClipSettings("lab", 0, "boredom")
        with pytest.raises(RuntimeError, match=r"s000-boredom-0.*boredom"):
            write_all([bad], tmp_path, 1, "rendering")
        assert not list(tmp_path.iterdir())

    def test_stills_share_no_subject_between_splits(self, tmp_path):
        stills = SyntheticStills(tmp_path, images=28, subjects=8, folds=4, workers=1)
        stills.prepare()
        records = stills.records()
        assert stills.folder.name == "stills-28x8-0-v3"
        assert {r.emotion for r in records} == set(labels.SEVEN)
        test = {r.subject for r in records if r.split == "test"}
        assert test
        assert not test & {r.subject for r in records if r.split == "train"}


def test_an_ordinary_detector_finds_the_faces():
    mtcnn = pytest.importorskip("facenet_pytorch").MTCNN(device="cpu", keep_all=True)
    frames, boxes = [], []
    for number, emotion in enumerate(labels.SEVEN):
        for difficulty in ("lab", "wild"):
            clip = render_clip(ClipSettings(difficulty, 40 + number, emotion))
            for t in (0, len(clip.frames) * 2 // 3):
                if clip.truth.visible[t]:
                    frames.append(clip.frames[t])
                    boxes.append(clip.truth.box[t])
        still = render_still(StillSettings(number, number, emotion))
        frames.append(still.frames[0])
        boxes.append(still.truth.box[0])
    detections, _ = mtcnn.detect(frames)
    hits = [
        candidates is not None and max(overlap(candidate, box) for candidate in candidates) >= 0.5
        for candidates, box in zip(detections, boxes, strict=True)
    ]
    assert np.mean(hits) >= 0.9


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
