"""Time to compute spectrograms and descriptors, and to load batches with and without them."""

import tempfile
import time
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from data_modules.audio.opensmile import SIZES
from data_modules.audio.settings import AudioSettings
from data_modules.loading.batch_sampler import Draw
from data_modules.loading.clip_dataset import FACES_ONLY, Clip, ClipDataset
from data_modules.manifest import VideoRecord
from data_modules.prepare.audio import AudioPreparer
from data_modules.sampling import SegmentSampler
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import ClipSummary, FaceFrame
from data_modules.store.clip_store import ClipStore
from data_modules.synthetic.dynamics import speech
from data_modules.synthetic.voice import Voice, speak
from data_modules.utils.pool import run_in_processes
from fer_lightning.bench.store import clips_to_store

CORES = 2
SECONDS = 3.0  # of a clip
BATCH, FRAMES, SIZE = 8, 16, 224  # a typical batch


def write_clips(folder: Path, count: int, crop_size: int) -> tuple[ClipStore, list[Clip]]:
    """Writes clips of 75 faces and three seconds of a synthetic voice in noise, as `fer data prepare` stores them."""
    store, clips = ClipStore(folder), []
    for number, crops in enumerate(islice(clips_to_store(crop_size), count)):
        rng = np.random.default_rng(number)
        voice = speak(speech(SECONDS, 4.0, rng), SECONDS, Voice(float(rng.uniform(90, 240)), 0.3), rng)
        with store.writing(f"{number}") as writer:
            for index, crop in enumerate(crops):
                writer.add(FaceFrame(index, crop, np.zeros(4, np.float32), 1.0))
            writer.add_audio((voice * 32767).astype(np.int16))
            summary = writer.finish(ClipSummary(f"{number}", len(crops), 0, 25.0))
        clips.append(Clip(VideoRecord(summary.clip_id, "", ""), summary, 0))
    store.write_index(clip.faces for clip in clips)
    return store, clips


def seconds_per_second(store: ClipStore, clips: list[Clip], audio_cache: AudioCache, field: str, workers: int) -> float:
    """Returns how many seconds of audio are processed per second, start-up excluded.

    Args:
        store: holds the clips.
        clips: of `SECONDS` each.
        audio_cache: with the settings of the field.
        field: of `ClipBatch` to compute.
        workers: processes; 0 for the current one.

    Raises:
        RuntimeError: the field of a clip cannot be computed.
    """
    work = partial(AudioPreparer, store, audio_cache, frozenset({field}))
    times = []
    for clip_id, reason in run_in_processes(work, [clip.record.clip_id for clip in clips], workers, 300.0):
        if reason:
            raise RuntimeError(f"no {field} of clip {clip_id}: {reason}")
        times.append(time.perf_counter())
    warm = max(2 * workers - 1, 0)  # results until all processes have loaded their libraries
    return (len(times) - 1 - warm) * SECONDS / (times[-1] - times[warm])


def step_times(datasets: list[ClipDataset], steps: int) -> list[float]:
    """Returns the shortest time in seconds to load a batch of each data set in one process, the data sets in turn.

    It is the shortest because other work on the machine only adds time.
    """
    times: list[list[float]] = [[] for _ in datasets]
    for step in range(steps + 1):
        for dataset_times, data in zip(times, datasets, strict=True):
            draws = [Draw((step * BATCH + row) % len(data), step * BATCH + row) for row in range(BATCH)]
            start = time.perf_counter()
            data.load(draws)
            dataset_times.append(time.perf_counter() - start)
    return [min(dataset_times[1:]) for dataset_times in times]


def run(quick: bool = False) -> None:
    """Prints how fast both fields are computed, and how much longer loading a batch takes with them."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    audio, sampler = AudioSettings(), SegmentSampler(2 if quick else FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        store, clips = write_clips(Path(folder), 4 if quick else 40, 64 if quick else 256)
        cached = AudioCache.from_store(store, audio)
        fields = {f"spectrogram, {audio.size}²": (cached, "spectrogram")}
        if find_spec("opensmile"):
            for functionals, size in SIZES.items():
                cache = AudioCache.from_store(store, replace(audio, functionals=functionals))
                fields[f"openSMILE, {size} values"] = cache, "descriptor"
        workers = 0 if quick else CORES
        count = "1 process" if workers < 2 else f"{workers} processes"
        print(f"noise reduction and voice activity included, {count}, clips of {SECONDS:.0f} s:")
        for name, (cache, field) in fields.items():
            speed = seconds_per_second(store, clips, cache, field, workers)
            print(f"  {name}: {speed:.1f} s of audio per second")
        audio_fields = frozenset(field for _, field in fields.values())
        variants = {
            "faces": (FACES_ONLY, cached),
            f"faces, {' and '.join(sorted(audio_fields))}": (FACES_ONLY | audio_fields, cached),
            "faces and spectrogram, computed in each step": (FACES_ONLY | {"spectrogram"}, AudioCache(audio)),
        }
        data = [
            ClipDataset(clips, store, sampler, inputs, SIZE, audio_cache=cache) for inputs, cache in variants.values()
        ]
        times = step_times(data, 2 if quick else 20)
        print(f"loading a batch of {BATCH} clips of {sampler.frames} frames in one process:")
        for name, seconds in zip(variants, times, strict=True):
            print(f"  {name}: {1000 * seconds:.1f} ms, {seconds / times[0]:.3f} x")
