"""Creates a clip's file in the store: faces, audio and a summary."""

from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_modules.audio.settings import AUDIO_RATE
from data_modules.faces.extraction import ClipAnnotations, FaceExtractor
from data_modules.faces.face_table import find_face_table, read_face_table
from data_modules.faces.ground_truth import FrameTruth
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord
from data_modules.prepare.source_files import MISSING, ClipFiles
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.store.clip_writer import ClipWriter
from data_modules.utils.faults import is_passing
from data_modules.utils.text import counted
from data_modules.video.audio_track import AudioTrack, is_audio_file, open_audio, require_audio
from data_modules.video.reader import describe_reader, is_video_file, open_clip
from data_modules.video.source import DEFAULT_READER, Reader, UnreadableVideoError, VideoSource

DAMAGED = "audio unreadable: "


class ClipPreparer:
    """Creates clips' files in the store; networks are loaded once.

    Args:
        folder: root of the data set.
        settings: how faces are extracted.
        store: folder of the store.
        device: device that the networks run on; by default a GPU if available.
        threads: number of frames that a detector processes in parallel on a CPU.
        everybody: whether each person has a file, see `ClipStore.everybody`, or only that of the main face.
        shots: whether shot changes are found, see `FaceExtractor.locate`.
        reader: of video files, see `VideoFile`.

    Attributes:
        description: which networks find faces, and what reads video files.

    Raises:
        DetectorNotFoundError: a package or weights are missing.
        ReaderNotFoundError: the reader is not installed.
    """

    def __init__(
        self,
        folder: Path,
        settings: FaceSettings,
        store: Path,
        device: str | None = None,
        threads: int = 1,
        everybody: bool = False,
        shots: bool = False,
        reader: Reader = DEFAULT_READER,
    ) -> None:
        self._folder, self._settings, self._store = folder, settings, ClipStore(store)
        self._everybody, self._shots = everybody, shots
        reads = describe_reader(reader) if settings.detector != "none" else ""  # is it there? Networks take longer
        self._extractor, self._reader = FaceExtractor(settings, device, threads), reader
        self.description = ", ".join(filter(None, (self._extractor.models.description, reads)))

    def __call__(self, record: VideoRecord) -> Generator[float, None, ClipSummary]:
        """Reads a clip and writes its files; yields the progress (0 to 1) and returns the (first person's) summary.

        Raises:
            UnreadableVideoError: the frames cannot be read.
            ValueError: an annotation is missing or does not match.
            OSError: the disk cannot be read.
            NotWritableError: the store cannot be written to.
        """
        yield 0.0
        files = ClipFiles.from_record(self._folder, record, self._settings)
        stamp = files.thorough_stamp  # taken before reading, so that later changes are noticed
        content = "" if MISSING in stamp else (yield from files.content())
        if self._settings.detector == "none" or is_audio_file(self._folder / record.path):
            return self._sound_alone(record, ClipSummary(record.clip_id, 0, 0, source=stamp, content=content))
        source = open_clip(self._folder, record, reader=self._reader)
        annotations = self._annotations(record, source)
        summary = ClipSummary(record.clip_id, 0, 0, source=stamp, content=content)
        return (yield from self._with_faces(source, annotations, summary, self._folder / record.path))

    def frames(self, clip_id: str, source: VideoSource) -> Generator[float, None, ClipSummary]:
        """Writes the file of a clip without audio and annotations, whose frames need not be in a file.

        Yields and raises as a call does.
        """
        return self._with_faces(source, ClipAnnotations(clip_id), ClipSummary(clip_id, 0, 0), None)

    def _with_faces(
        self, source: VideoSource, annotations: ClipAnnotations, summary: ClipSummary, audio: Path | None
    ) -> Generator[float, None, ClipSummary]:
        locations = yield from self._extractor.locate(source, annotations, self._everybody, self._shots)
        with ExitStack() as files:
            names = [self._store.name_of(summary.clip_id, number) for number, _ in enumerate(locations, start=1)]
            writers = [files.enter_context(self._store.writing(name)) for name in names]
            faces = [0] * len(writers)
            for number, face in self._extractor.crop(source, locations, annotations):
                writers[number].add(face)
                faces[number] += 1
                yield (1 + face.index / source.num_frames) / 2
            audio_reason = self._add_audio(audio, writers[0])
            count = source.num_frames
            summary = replace(
                summary,
                num_frames=count,
                fps=source.fps,
                broken=source.broken,
                missing=round(source.missing, 2),
                width=source.width,
                height=source.height,
                audio_reason=audio_reason,
                picture_note=source.picture_note,
            )
            first, *_ = (
                writer.finish(
                    replace(
                        summary,
                        clip_id=name,
                        num_faces=found,
                        reason="" if found else f"no face found in {counted(count, 'frame')}",
                    ),
                    source.timestamps,
                    person.others,
                    person.cuts,
                )
                for name, writer, found, person in zip(names, writers, faces, locations, strict=True)
            )
            return first

    def _sound_alone(self, record: VideoRecord, summary: ClipSummary) -> ClipSummary:
        """Writes the audio of a clip whose pictures are not looked at; damage is not made up for by faces.

        Raises:
            UnreadableVideoError: there is no audio, or it cannot be read.
        """
        path = self._folder / record.path
        track = require_audio(path, AUDIO_RATE)
        with self._store.writing(record.clip_id) as writer:
            for block in track:
                writer.add_audio(np.round(block * 32767).astype(np.int16))
            if not track.decoded:
                raise UnreadableVideoError(f"{path}: its audio track holds no samples. Copy the file again.")
            return writer.finish(replace(summary, audio_reason=_problems(track)), np.zeros(0))

    def _annotations(self, record: VideoRecord, source: VideoSource) -> ClipAnnotations:
        needs_table = "table" in (self._settings.detector, self._settings.landmarks)
        path = find_face_table(self._folder, record) if needs_table else None
        return ClipAnnotations(
            record.clip_id,
            FrameTruth.load(self._folder / record.truth) if record.truth else None,
            read_face_table(path, (source.width, source.height), source.stretch) if path else None,
        )

    def _add_audio(self, path: Path | None, writer: ClipWriter) -> str:
        """Writes a file's audio; returns what is wrong with it. Damaged audio is dropped, but not the faces."""
        if path is None or not self._settings.audio or not is_video_file(path):
            return ""
        try:
            track = open_audio(path, AUDIO_RATE)
            for block in track or ():
                writer.add_audio(np.round(block * 32767).astype(np.int16))
        except Exception as error:  # a damaged track may cause any error; keep the faces
            if is_passing(error):
                raise
            writer.discard_audio()
            return " ".join(f"{DAMAGED}{str(error) or type(error).__name__}".split())
        return _problems(track) if track else ""


def _problems(track: AudioTrack) -> str:
    """Returns what was wrong with a track in the last pass over it; empty if nothing was."""
    problems = []
    if track.broken:
        problems.append(f"{track.broken} of {track.packets} packets of its audio cannot be decoded")
    if track.not_numbers:
        problems.append(f"{track.not_numbers} samples of its audio are not finite and were replaced by silence")
    return "; ".join(problems)
