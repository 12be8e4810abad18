"""Mutated files of every container end in frames, samples or a clear error, within time and memory."""

import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from data_modules.utils.pool import Failure, run_in_processes
from data_modules.video.audio_track import open_audio
from data_modules.video.reader import open_video
from data_modules.video.source import UnreadableVideoError
from tests.faults.mutations import VALID, mutate

CASES = int(os.environ.get("FER_FUZZ_CASES", "300"))  # of each container
FIRST = int(os.environ.get("FER_FUZZ_FIRST", "0"))
SECONDS, MEGABYTES = 30.0, 400  # for one case, of a file of some kilobytes


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read(path: Path) -> str:
    """Reads a file as preparing does: its frames one by one, some of them, and its sound; says what it is."""
    found = []
    try:
        source = open_video(path)
        read = sum(1 for _ in source.frames())
        if read != source.num_frames:
            return f"finding: {read} frames read, {source.num_frames} declared"
        list(source.frames([0, source.num_frames - 1] if source.num_frames > 1 else [0]))
        found.append("frames")
    except UnreadableVideoError:
        found.append("no frames")
    try:
        track = open_audio(path)
        found.append("no sound" if track is None else "sound")
        for _ in track or ():
            pass
    except UnreadableVideoError:
        found.append("damaged sound")
    return ", ".join(found)


def make_reader(kind: str, content: bytes, folder: Path) -> Callable[[int], str]:
    """Makes what reads the mutation of a seed."""

    def work(seed: int) -> str:
        path = folder / f"{os.getpid()}.{kind}"
        path.write_bytes(mutate(content, seed))
        before = _memory()
        found = read(path)
        grown = _memory() - before
        return f"finding: {grown:.0f} MB of memory" if grown > MEGABYTES else found

    read(VALID["mp4"](folder))  # what is loaded once does not count
    return work


@pytest.mark.slow
@pytest.mark.parametrize("kind", VALID)
def test_a_mutated_file_ends_in_frames_or_a_clear_error(tmp_path, kind):
    content = VALID[kind](tmp_path).read_bytes()
    make = partial(make_reader, kind, content, tmp_path)
    findings, read_well = dict[str, list[int]](), 0
    for seed, result in run_in_processes(make, range(FIRST, FIRST + CASES), 1, SECONDS):
        text = result.reason if isinstance(result, Failure) else result
        if isinstance(result, Failure) or text.startswith("finding"):
            findings.setdefault(text, []).append(seed)
        read_well += text in ("frames, sound", "frames, no sound", "no frames, sound")
    assert not findings, "\n".join(f"{text}: seeds {seeds[:10]}" for text, seeds in findings.items())
    assert read_well, "no mutation left a file that can be read: the mutations are too strong"
