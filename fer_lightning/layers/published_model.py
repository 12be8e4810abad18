"""Whole models from files that a paper's authors published, by a table of their tensors' names."""

import logging
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fer_lightning.layers.backbones import Pretrained
from fer_lightning.layers.pixels import PixelConversion, Pixels, get_convention
from fer_lightning.weights import (
    ABOUT_PIXELS,
    RANDOM,
    Renames,
    load_fitting_content,
    read_checkpoint,
    renamed,
    tensors_in,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedForm:
    """The form in which authors published their files.

    Args:
        names: Turn a tensor's name in the file into its name here.
        classes: The classes in the order of the last layer's rows.
        last_layer: Name of the last layer here.
        pixels: Pixel convention of the weights.
        where: Where the files are published, for messages.
    """

    names: Renames
    classes: tuple[str, ...]
    last_layer: str
    pixels: Pixels
    where: str


class PublishedModel(Pretrained):
    """The weights of a whole model from a file of its authors.

    Args:
        model: The model.
        conversion: Its pixel conversion, which adopts that of the weights.
        class_names: Its classes. The last layer's rows are put into their order. If they are not those of the file, the
            layer is left as it is.
        form: Form of the file.
        weights: Path of the file, or `random`.
    """

    def __init__(
        self,
        model: nn.Module,
        conversion: PixelConversion,
        class_names: Sequence[str],
        form: PublishedForm,
        weights: str,
    ) -> None:
        self.model, self.conversion, self.class_names = model, conversion, tuple(class_names)
        self.form, self.weights = form, weights

    @property
    def source(self) -> str:
        """See `Pretrained`."""
        return self.weights

    def load_weights(self) -> None:
        """Read the file and load every tensor of it; with `random`, do nothing.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file holds another model, or the model states other pixels.
        """
        if self.weights == RANDOM:
            return
        if not Path(self.weights).is_file():
            raise FileNotFoundError(f"no file {self.weights}; {self.form.where}")
        self.load_content(read_published(Path(self.weights)))

    def load_content(self, content: dict[str, object]) -> None:
        """Load the content of a file.

        Raises:
            ValueError: See `load_weights`.
        """
        form, own = self.form, self.model.state_dict()
        state = {renamed(key, form.names): value for key, value in tensors_in(content, self.weights).items()}
        last = [key for key in state if key.startswith(f"{form.last_layer}.")]
        if set(form.classes) == set(self.class_names):
            order = [form.classes.index(name) for name in self.class_names]
            state |= {key: state[key][order] for key in last}
        else:
            log.warning("%s: loaded without its last layer, for %s", self.weights, ", ".join(form.classes))
            state |= {key: own[key] for key in last}
        self.conversion.adopt(get_convention(form.pixels), self.weights)
        pixels = {key: value for key, value in self.model.state_dict().items() if ABOUT_PIXELS.search(key)}
        load_fitting_content(self.model, {"state_dict": state | pixels}, self.weights)


class _Curves:
    """Stands for the class of the curves in authors' files, of which nothing is used."""


_REBUILD = np.zeros(0).__reduce__()[0]
_PLAIN = [
    (_Curves, "__main__.RecorderMeter"),
    (_REBUILD, "numpy.core.multiarray._reconstruct"),  # the name until NumPy 2
    _REBUILD,
    np.ndarray,
    np.dtype,
    np.dtypes.Float32DType,
    Namespace,  # the script's arguments
]


def read_published(path: Path) -> dict[str, object]:
    """Read a file of tensors without running pickled code.

    Files that began as PyTorch's ImageNet example hold the training's curves, too: NumPy arrays in an object of the
    script's class `RecorderMeter`. Others hold the script's arguments. These are read as plain values.

    Raises:
        ValueError: The file holds more than that.
    """
    with torch.serialization.safe_globals(_PLAIN):  # type: ignore[arg-type]
        return read_checkpoint(path)
