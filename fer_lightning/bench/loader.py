"""How fast one core loads clips, and the share of time for which training waits for data."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import cv2
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms  # type: ignore[import-untyped]

from data_modules.loading.batch_sampler import Draw
from data_modules.loading.clip_dataset import Clip, ClipDataset
from data_modules.loading.transforms import ClipAugmentation
from data_modules.manifest import VideoRecord
from data_modules.sampling import SubvideoSampler
from data_modules.store.clip_store import ClipStore
from fer_lightning.bench.two_epochs import RepeatedClips, train_two_epochs
from fer_lightning.experiments.system import Size
from fer_lightning.training.callbacks import DataWait

STORED, SIZE, BATCH = 128, 224, 8
SAMPLER = SubvideoSampler()
AUGMENTATION = ClipAugmentation(rotation=10, scale=0.1, translation=0.05, brightness=0.2, contrast=0.2)
PLAINLY = "image files, PIL, Resize and ToTensor"


def run(quick: bool = False) -> None:
    """Prints the clips that one core loads in a second, and the share of a training step that waits for them."""
    print(f"clips of {SAMPLER.num_clips * SAMPLER.frames} frames of {STORED}², for a model at {SIZE}², on one core:")
    speeds = loading_speeds(clips=2 if quick else BATCH, repeats=1 if quick else 9)
    for way, speed in speeds.items():
        print(f"  {way}: {speed:.0f} clips a second, {speed / speeds[PLAINLY]:.1f} x {PLAINLY}")
    for workers in (0, 2):
        share = waiting_share("ceflnet_synthetic", workers, steps=5 if quick else 40)
        print(f"{workers} workers: {100 * share:.1f} % of a training step is waiting for data")


def loading_speeds(clips: int, repeats: int) -> dict[str, float]:
    """Returns the clips that one core loads in a second, each way: the median over batches, all ways in turn.

    What counts is the time of the processor, so that other programs do not. Files are in the system's cache.

    Args:
        clips: in a batch, all different.
        repeats: batches of each way, after a first one that does not count.
    """
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            loaders = _loaders(Path(folder), clips)
            times: dict[str, list[float]] = {way: [] for way in loaders}
            for _ in range(repeats + 1):
                for way, load in loaders.items():
                    start = time.process_time()
                    load()
                    times[way].append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    return {way: clips / statistics.median(taken[1:]) for way, taken in times.items()}


def _loaders(folder: Path, count: int) -> dict[str, Callable[[], object]]:
    """Writes the same clips as image files and into a store; returns what loads a batch of them each way."""
    # needs PyAV, which `waiting_share` does not
    from fer_lightning.bench.store import clips_to_store, write_clip, write_images

    store, clips, images = ClipStore(folder / "store"), [], []
    for number, crops in enumerate(islice(clips_to_store(STORED), count)):
        images.append(folder / f"{number}")
        images[-1].mkdir()
        write_images(images[-1], crops)
        clips.append(Clip(VideoRecord(f"{number}", "", ""), write_clip(store, f"{number}", crops), 0))
    draws = [Draw(number, number) for number in range(count)]
    workers, device = (
        ClipDataset(clips, store, SAMPLER, size=SIZE, augmentation=AUGMENTATION, on_device=place)
        for place in (False, True)
    )
    return {
        PLAINLY: lambda: torch.stack(
            [_load_plainly(path, draw.seed) for path, draw in zip(images, draws, strict=True)]
        ),
        "the store, transformed by the workers": lambda: workers.load(draws),
        "the store, transformed by the device": lambda: device.load(draws),
    }


def _load_plainly(folder: Path, seed: int) -> Tensor:
    """Returns a clip, (T, 3, S, S) float, as CEFLNet's authors load it, without augmentation."""
    convert = transforms.Compose([transforms.Resize((SIZE, SIZE)), transforms.ToTensor()])
    files = sorted(folder.iterdir())
    frames = SAMPLER(len(files), torch.Generator().manual_seed(seed)).tolist()
    return torch.stack([convert(Image.open(files[frame]).convert("RGB")) for frame in frames])


def waiting_share(
    experiment: str, workers: int, steps: int, size: Size | None = None, arguments: Sequence[str] = (), times: int = 1
) -> float:
    """Returns the share of an epoch's steps, see `train_two_epochs`, on random weights.

    Args:
        experiment: its name.
        workers: processes that load.
        steps: at most, of an epoch.
        size: `small` or `paper`; None for the experiment's own.
        arguments: further ones.
        times: that each clip stands in an epoch.
    """
    own = ("--data.num_workers", str(workers), "--model.init_args.backbone.init_args.weights", "random")
    cli = train_two_epochs(experiment, size, (*arguments, *own), steps, [RepeatedClips(times)])
    (wait,) = (callback for callback in cli.trainer_defaults["callbacks"] if isinstance(callback, DataWait))
    return wait.share
