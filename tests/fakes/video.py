"""Video data sets in small, each in its real layout and with its traps, and the records that are to be read from it."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from openpyxl import Workbook

from data_modules.datasets import dfew
from data_modules.labels import SEVEN
from tests.fakes.pictures import write_frames, write_named_frames
from tests.videos import numbered_frame, write_audio, write_video

SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


@dataclass(frozen=True)
class Wanted:
    """What a record must say, folds aside; `split` is empty where `data_modules.datasets.folds` gives it."""

    clip_id: str
    emotion: str
    subject: str = ""
    split: str = ""


@cache
def _video(suffix: str, sideways: bool) -> bytes:
    codec = {".avi": "mpeg4", ".flv": "flv", ".mp4": "libx264"}[suffix]
    frames = [numbered_frame(number, 48, 32) for number in range(3)]
    if sideways:  # upright pictures of 48 x 64, filmed on their side: the head is at the left
        frames = [np.rot90(numbered_frame(number, 48, 64)) for number in range(3)]
    with TemporaryDirectory() as folder:
        return write_video(Path(folder) / f"video{suffix}", frames, codec=codec).read_bytes()


def put_video(path: Path, sideways: bool = False) -> None:
    """A real video of three frames, encoded once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_video(path.suffix, sideways))


@cache
def _voice(suffix: str, hertz: int) -> bytes:
    tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(8192) / 16000)
    with TemporaryDirectory() as folder:
        return write_audio(Path(folder) / f"voice{suffix}", tone.astype(np.float32)).read_bytes()


def put_voice(path: Path, hertz: int = 300) -> None:
    """Half a second of a tone as a file of sound, encoded once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_voice(path.suffix, hertz))


def put_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


CKPLUS_NAMES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")


def write_ckplus(root: Path, subjects: int = 18) -> list[Wanted]:
    """Each subject: four labelled sequences, one whose label folder is empty, one without a label folder."""
    wanted = []
    for number in range(subjects):
        subject = f"S{5 + number:03d}"
        for sequence in range(1, 7):
            name = f"{subject}_{sequence:03d}"
            frames = [f"{name}_{frame:08d}.png" for frame in (1, 2, 11)]
            write_named_frames(root / "cohn-kanade-images" / subject / f"{sequence:03d}", frames)
            labels = root / "Emotion" / subject / f"{sequence:03d}"
            if sequence <= 5:
                labels.mkdir(parents=True)
            if sequence <= 4:
                code = 1 + (number + sequence) % 7
                put_text(labels / f"{name}_00000011_emotion.txt", f"   {code}.0000000e+00\n")
                wanted.append(Wanted(name, CKPLUS_NAMES[code], subject))
        (root / "cohn-kanade-images" / subject / ".DS_Store").touch()
        (root / "Emotion" / subject / ".DS_Store").touch()
    return wanted


def write_bu4dfe(root: Path, subjects: int = 10) -> list[Wanted]:
    """Ten people or more, six folders each; beside them a file and a folder that are no person."""
    names = [f"F{n:03d}" for n in range(1, subjects // 2 + 1)] + [
        f"M{n:03d}" for n in range(1, (subjects + 1) // 2 + 1)
    ]
    spelt = zip(("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise"), SIX, strict=True)
    folders = list(spelt)
    for name in names:
        for folder, _ in folders:
            write_named_frames(root / name / folder, ["000.jpg", "001.jpg", "002.jpg"])
            put_text(root / name / folder / "000.wrl", "a 3D model")
    put_text(root / "readme.txt", "x")
    (root / "Tools").mkdir()
    return [Wanted(f"{name}/{folder}", emotion, name) for name in names for folder, emotion in folders]


MMI_CODES = {1: "anger", 2: "disgust", 3: "fear", 4: "happiness", 5: "sadness", 6: "surprise"}


def write_mmi_session(
    root: Path,
    session: int,
    sid: str,
    code: str | None,
    view: str = "0",
    subject: str = "",
    video: bool = True,
    sideways: bool = False,
) -> None:
    """Sideways videos are those of sessions without an annotation of action units' phases."""
    folder = root / "Sessions" / str(session)
    person = f'<subject id="{subject}" gender="f"/>' if subject else ""
    names = [f"{sid}.xml"] if sideways else [f"{sid}.xml", f"{sid}-oao_aucs.xml"]
    annotations = "".join(f'<annotation filename="{name}"/>' for name in names)
    tracks = (
        f'<track trackNumber="0" type="Video" view="{view}" filename="{sid}.avi">'
        f"{annotations}</track>"
        '<track trackNumber="1" type="Audio"/>'
    )
    put_text(folder / "session.xml", f'<?xml version="1.0"?><session id="{session}">{person}{tracks}</session>')
    tag = f'<Metatag Name="Emotion" Value="{code}"/>' if code is not None else ""
    tags = f'<Metatags><Metatag Name="Coder" Value="x"/>{tag}</Metatags>'
    put_text(folder / f"{sid}.xml", f'<?xml version="1.0"?><AnnotationFile>{tags}</AnnotationFile>')
    if not sideways:
        put_text(folder / f"{sid}-oao_aucs.xml", "<ActionUnits></ActionUnits>")
    if video:
        put_video(folder / f"{sid}.avi", sideways)


def write_mmi(root: Path, subjects: int = 10) -> list[Wanted]:
    """Six frontal sessions a person, one on its side, one with a mirror.

    Further ones: from the side, without an emotion, of another one (9), no video.
    """
    wanted, session = [], 1
    for number in range(1, subjects + 1):
        for code, emotion in MMI_CODES.items():
            sid = f"S{number:03d}-{100 + code}"
            write_mmi_session(root, session, sid, str(code), "2" if code == 1 else "0", sideways=code == 3)
            wanted.append(Wanted(sid, emotion, f"S{number:03d}"))
            session += 1
    write_mmi_session(root, 900, "S001-900", "1", view="1")
    write_mmi_session(root, 901, "S001-901", None)
    write_mmi_session(root, 902, "S001-902", "9")
    write_mmi_session(root, 903, "S001-903", "4", video=False)
    write_mmi_session(root, 904, "904", "5", subject="77")
    write_mmi_session(root, 905, "905", "6")
    more = [Wanted("S001-903", "happiness", "S001"), Wanted("904", "sadness", "77")]
    return [*wanted, *more, Wanted("905", "surprise", "session905")]


def write_afew(root: Path) -> list[Wanted]:
    """Each part spells its folders in its own way; ids repeat between parts; the last clip was not aligned."""
    spelt = {
        "train": ("Train_AFEW", "", ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")),
        "val": ("Val_AFEW", "_Val", ("Anger", "disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")),
    }
    wanted = []
    for part, (folder, end, names) in spelt.items():
        for place, (name, emotion) in enumerate(zip(names, SEVEN, strict=True)):
            for clip in (f"{place}00046280", f"{place}00046281"):
                put_video(root / folder / name / f"{clip}.avi")
                wanted.append(Wanted(f"{part}/{clip}", emotion, "", "train" if part == "train" else "test"))
                write_named_frames(root / f"AlignedFaces_LBPTOP_Points{end}" / "Faces" / clip, ["000.jpg", "001.jpg"])
            put_text(root / folder / name / "._000046280.avi", "what a file system left")
    for path in (root / "AlignedFaces_LBPTOP_Points_Val" / "Faces" / "600046281").iterdir():
        path.unlink()
    (root / "AlignedFaces_LBPTOP_Points_Val" / "Faces" / "600046281").rmdir()
    return wanted


def write_cremad(root: Path, actors: int = 5) -> list[Wanted]:
    """Two sentences of each actor and emotion; one level is a single letter, as in the data set itself."""
    codes = dict(zip(("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"), [e for e in SEVEN if e != "surprise"], strict=True))
    wanted = []
    for actor in range(1001, 1001 + actors):
        for code, emotion in codes.items():
            for name in (f"{actor}_DFA_{code}_XX", f"{actor}_ITH_{code}_X"):
                put_video(root / "VideoFlash" / f"{name}.flv")
                put_voice(root / "AudioWAV" / f"{name}.wav")
                wanted.append(Wanted(name, emotion, str(actor)))
    return wanted


CREMAD_LEVELS = [
    *(f"mean{name}Resp" for name in ("Emo", "Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")),
    "medianEmoResp",
]
CREMAD_VOTES = (
    *("", "A", "D", "F", "H", "N", "S", "fileName", "numResponses", "agreement", "emoVote"),
    *CREMAD_LEVELS,
    *(f"{name}Norm" for name in CREMAD_LEVELS),
)


def write_cremad_votes(
    root: Path, *rows: tuple[int, str, tuple[int, ...]], header: tuple[str, ...] = CREMAD_VOTES
) -> None:
    """`processedResults/tabulatedVotes.csv`: (number of a clip and kind, its name, votes for A, D, F, H, N, S)."""
    (root / "processedResults").mkdir(exist_ok=True)
    with (root / "processedResults" / "tabulatedVotes.csv").open("w", newline="") as file:
        table = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        table.writerow(header)
        for number, name, votes in rows:
            top, total = max(votes), sum(votes)
            first = ":".join(letter for letter, count in zip("ADFHNS", votes, strict=True) if count == top)
            levels = [50.5, *([-1] * 6), 50.5] * 2
            table.writerow([str(number), *votes, name, total, top / max(total, 1), first, *levels])


MISPLACED_VOICE = "Actor_05/03-01-05-01-02-01-02.wav"
RAVDESS_CODES = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")


def write_ravdess(root: Path, actors: int = 6) -> list[Wanted]:
    """Of each actor and emotion: speech; the same without audio, and a song."""
    wanted = []
    for actor in range(1, actors + 1):
        for code, emotion in enumerate(RAVDESS_CODES, start=1):
            for start in ("01-01", "02-01", "01-02"):
                name = f"{start}-{code:02d}-01-02-01-{actor:02d}"
                put_video(root / f"Actor_{actor:02d}" / f"{name}.mp4")
            wanted.append(Wanted(f"01-01-{code:02d}-01-02-01-{actor:02d}", emotion, f"Actor_{actor:02d}"))
    return wanted


def write_ravdess_audio(root: Path, actors: int = 6) -> list[Wanted]:
    """Of each actor and emotion: speech as sound alone; beside it a song, and the video of the same sentence.

    As in a widespread copy, one recording of actor 02 is in the folder of actor 05, too, if there is one.
    """
    wanted = []
    for actor in range(1, actors + 1):
        folder, suffix = root / f"Actor_{actor:02d}", ".wav" if actor % 2 else ".flac"
        for code, emotion in enumerate(RAVDESS_CODES, start=1):
            name = f"{code:02d}-01-02-01-{actor:02d}"
            for start in ("03-01", "03-02"):
                put_voice(folder / f"{start}-{name}{suffix}", 200 * code)
            put_video(folder / f"01-01-{name}.mp4")
            wanted.append(Wanted(f"03-01-{name}", emotion, folder.name))
    if actors >= 5:
        put_voice(root / MISPLACED_VOICE, 1000)
    return wanted


ELEVEN = tuple(sorted({*SEVEN, "contempt", "anxiety", "helplessness", "disappointment"}))


def write_mafw(root: Path) -> list[Wanted]:
    """Lists without a header, the first without a last newline; one clip has no file, one file is in no list."""
    wanted = []
    for split, start in (("train", 20), ("test", 60)):
        numbers = range(start, start + 2 * len(ELEVEN))
        rows = [(f"{number:05d}", ELEVEN[number % len(ELEVEN)]) for number in numbers]
        for name, _ in rows[1:] if split == "test" else rows:
            put_video(root / "clips" / f"{name}.mp4")
        wanted += [Wanted(name, emotion, "", split) for name, emotion in rows]
        for fold in range(1, 6):
            text = "\n".join(f"{name}.mp4 {emotion}" for name, emotion in rows) + "\n" * (fold > 1)
            put_text(root / "Train & Test Set" / "single" / "no_caption" / f"set_{fold}" / f"{split}.txt", text)
    put_video(root / "clips" / "00001.mp4")
    return wanted


def write_ferv39k(root: Path) -> list[Wanted]:
    """Lists without a header; numbers begin anew in each folder; one clip has no frames; ends of line as in Windows."""
    names = dict(zip(("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"), SEVEN, strict=True))
    wanted = []
    for split, scene in (("train", "Action"), ("test", "Daily_Life")):
        rows = [(f"{scene}/{name}/{n:04d}", name) for name in names for n in (266, 267)]
        for clip, _ in rows[1:]:
            write_named_frames(root / "2_ClipsforFaceCrop" / clip, ["1.jpg", "2.jpg", "10.jpg"])
        text = "".join(f"{clip} {name}\r\n" for clip, name in rows)
        put_text(root / "4_setups" / "All_scenes" / f"{split}_All.csv", text)
        wanted += [Wanted(clip, names[name], "", split) for clip, name in rows]
    return wanted


def write_caer(root: Path) -> list[Wanted]:
    """Numbers begin anew in each folder."""
    names = dict(zip(("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"), SEVEN, strict=True))
    wanted = []
    for folder, split in (("train", "train"), ("validation", "inner"), ("test", "test")):
        for name, emotion in names.items():
            for number in (1, 2):
                put_video(root / folder / name / f"{number:04d}.avi")
                wanted.append(Wanted(f"{folder}/{name}/{number:04d}", emotion, "", split))
        put_text(root / folder / ".DS_Store", "x")
    return wanted


def write_dfew(root: Path, train: int = 42, test: int = 15, size: int = 32) -> Path:
    """`Clip/clip_224x224/00001/1.jpg ...` and the lists of fold 1; the last training clip has no readable frame."""
    folder = root / "dfew"
    codes = sorted(dfew.CODES)
    clips = [(number, codes[number % len(codes)]) for number in range(1, train + test + 1)]
    for number, code in clips:
        write_frames(
            folder / "Clip" / "clip_224x224" / f"{number:05d}",
            dfew.CODES[code],
            frames=3 + number % 12,
            seed=number,
            size=size,
        )
    broken = folder / "Clip" / "clip_224x224" / f"{train:05d}"
    for path in broken.iterdir():
        path.write_text("no image")
    for split, rows in (("train", clips[:train]), ("test", clips[train:])):
        path = folder / "EmoLabel_DataSplit" / f"{split}(single-labeled)" / "set_1.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("video_name", "label"), *((f"{n:05d}", code) for n, code in rows)])
    return folder


DFEW_VOTES = ("order", "1happy", "2sad", "3neutral", "4angry", "5surprise", "6disgust", "7fear")


def write_dfew_votes(folder: Path, *rows: tuple[object, ...], header: tuple[str, ...] = DFEW_VOTES) -> None:
    """`Annotation/annotation.xlsx` in the folder of the data set."""
    book = Workbook()
    for row in (header, *rows):
        book.active.append(row)
    (folder / "Annotation").mkdir(exist_ok=True)
    book.save(folder / "Annotation" / "annotation.xlsx")
