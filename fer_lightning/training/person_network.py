"""A network that tells people apart by their faces, trained on prepared faces of people who are named."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as L
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from data_modules.loading.transforms import ClipAugmentation, resized
from data_modules.utils.files import atomic_file
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.training.callbacks import ProgressLines
from fer_lightning.training.precision import fastest_precision, quiet_lightning
from fer_lightning.training.schedules import WarmupCosine

ENTRY = "person_network"
"""The entry of a file's metadata, as JSON: the arguments of the network and the data set that it was trained on."""
AUGMENTATION = ClipAugmentation(
    flip=False, rotation=7, scale=0.08, translation=0.05, brightness=0.2, contrast=0.2
)  # a mirrored face is another person's: nobody is quite symmetric
BATCH, DROPOUT, LABEL_SMOOTHING = 64, 0.2, 0.1
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 5e-2


class PersonNetwork(nn.Module):
    """Maps faces (K, 3, S, S) uint8 to vectors (K, E) that are similar, by their cosine, if they show one person.

    Args:
        trained_on: the store's name of the data set that it was trained on.
        network: name of the network in timm.
        channels: its channels, of which the last is E.
        size: S, the side of the crops in pixels.
    """

    def __init__(
        self,
        trained_on: str,
        network: str = "resnet10t",
        channels: Sequence[int] = (32, 64, 128, 256),
        size: int = 64,
    ) -> None:
        super().__init__()
        self.size, self.trained_on = size, trained_on
        self.arguments = {
            "trained_on": trained_on,
            "network": network,
            "channels": list(channels),
            "size": size,
        }
        self.backbone = FrameBackbone(network, channels=channels)
        self.norm = nn.BatchNorm1d(self.backbone.num_features, affine=False)

    def forward(self, faces: Tensor) -> Tensor:
        """Maps faces (K, 3, S, S) uint8 to vectors (K, E)."""
        vectors: Tensor = self.norm(self.backbone(faces))
        return vectors

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps RGB crops (K, S', S', 3) of any side to unit vectors (K, E)."""
        faces = np.stack([resized(crop, self.size) for crop in crops])
        with torch.inference_mode():
            vectors: Tensor = F.normalize(self(torch.from_numpy(np.moveaxis(faces, -1, 1).copy())))
        return vectors.float().numpy()

    def save(self, path: Path) -> None:
        """Writes the network to a safetensors file, whole or not at all."""
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, {ENTRY: json.dumps(self.arguments)})

    @classmethod
    def load(cls, path: Path) -> "PersonNetwork":
        """Reads what `save` has written.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is something else.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"no network in {path.absolute()}; make one by `fer data embedder NAME --out {path}`"
            )
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                network = cls(**json.loads(file.metadata()[ENTRY]))
            network.load_state_dict(tensors)
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{path} is no network of `fer data embedder` ({type(error).__name__}); expected a file that it wrote"
            ) from error
        return network.eval()


class _Faces(Dataset[tuple[Tensor, int]]):
    """Faces of people, each time turned, moved and lit a little differently."""

    def __init__(self, faces: NDArray[np.uint8], person: NDArray[np.int64], seed: int) -> None:
        self._faces, self._person, self._generator = faces, person, torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        face = self._faces[index]
        drawn = AUGMENTATION.draw(len(face), self._generator).image(face, len(face))
        return torch.from_numpy(np.moveaxis(drawn, -1, 0).copy()), int(self._person[index])


class _Classifier(L.LightningModule):
    """Trains a network to classify people, by a linear layer on its normalised features: BNNeck.

    Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", 2019, section 3.5,
    https://arxiv.org/abs/1903.07071
    """

    def __init__(self, network: PersonNetwork, people: int, epochs: int) -> None:
        super().__init__()
        self.network, self._epochs = network, epochs
        self.people = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(network.backbone.num_features, people, bias=False))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the loss of a batch."""
        faces, person = batch
        loss = F.cross_entropy(self.people(self.network(faces)).float(), person, label_smoothing=LABEL_SMOOTHING)
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Returns optimiser and schedule."""
        optimizer = torch.optim.AdamW(self.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        return [optimizer], [WarmupCosine(optimizer, self._epochs, warmup=min(1, self._epochs - 1))]


def train_person_network(
    network: PersonNetwork, faces: NDArray[np.uint8], people: Sequence[str], epochs: int, seed: int = 0
) -> float:
    """Trains a network on faces of named people, and returns the mean loss of the last epoch.

    Args:
        network: the network, with random weights.
        faces: (N, S, S, 3) RGB crops of the network's size.
        people: the name of the person in each.
        epochs: their number, 1 or more.
        seed: of the order of the faces and their augmentation.

    Raises:
        ValueError: there are fewer faces than a batch has, or no epoch.
    """
    if len(faces) < BATCH or epochs < 1:
        raise ValueError(
            f"{len(faces)} faces of named people and {epochs} epochs; expected {BATCH} faces or more, which is one "
            "batch, and 1 epoch or more"
        )
    quiet_lightning()
    names, person = np.unique(np.array(people), return_inverse=True)
    loader = DataLoader(
        _Faces(faces, person, seed), BATCH, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(seed)
    )
    bar = sys.stdout.isatty()
    trainer = L.Trainer(
        max_epochs=epochs,
        logger=False,
        callbacks=[] if bar else [ProgressLines()],
        enable_progress_bar=bar,
        enable_checkpointing=False,
        enable_model_summary=False,
        precision=fastest_precision(),
        devices=1,
    )
    trainer.fit(_Classifier(network, len(names), epochs), loader)
    network.eval().cpu()
    return float(trainer.callback_metrics["train/loss"])
