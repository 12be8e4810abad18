"""Peak memory of a process that extracts faces, for a short and a long video of the same frames."""

import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import av

from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.utils.pool import run_to_end
from fer_lightning.bench.faces import example_video

SHORT, LONG = 20.0, 1200.0  # seconds


def run(quick: bool = False) -> None:
    """Prints the peak for both lengths, each measured in a separate process."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = example_video(folder, quick)
        for seconds in (2.0, 6.0) if quick else (SHORT, LONG):
            long = write_repeated(video, folder / f"{seconds:.0f}s.mp4", seconds)
            receiver, sender = context.Pipe()
            process = context.Process(target=_measure, args=(sender, long, folder / "store"))
            start = time.perf_counter()
            process.start()
            sender.close()
            peak, summary = receiver.recv()
            process.join()
            elapsed = time.perf_counter() - start
            print(
                f"{seconds:.0f} s of video: {summary.num_faces} faces in {summary.num_frames} frames, "
                f"peak {peak / 2**20:.0f} MiB, {elapsed:.0f} s of work",
                flush=True,
            )


def write_repeated(video: Path, path: Path, seconds: float) -> Path:
    """Writes a video that repeats another one until it lasts about `seconds`; packets are copied without decoding."""
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        track = source.streams.video[0]
        copy = target.add_stream_from_template(track)
        packets = [packet for packet in source.demux(track) if packet.dts is not None]
        assert track.time_base is not None
        step = sum(packet.duration or 0 for packet in packets)
        for repeat in range(round(seconds / float(step * track.time_base)) or 1):
            for packet in packets:
                packet.stream = copy
                if repeat:
                    packet.pts, packet.dts = (packet.pts or 0) + step, (packet.dts or 0) + step
                pts, dts, base = packet.pts, packet.dts, packet.time_base  # muxing changes them
                target.mux(packet)
                packet.pts, packet.dts, packet.time_base = pts, dts, base
    return path


def _measure(pipe: multiprocessing.connection.Connection, video: Path, store: Path) -> None:
    settings = FaceSettings(landmarks="mesh")
    preparer = ClipPreparer(video.parent, settings, store)
    summary = run_to_end(preparer(VideoRecord(video.stem, video.name, "")))
    pipe.send((1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, summary))
