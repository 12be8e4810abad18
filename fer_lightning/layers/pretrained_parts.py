"""Parts of a model that start from the same parts of another, trained one."""

from collections.abc import Mapping, Sequence

from torch import nn

from fer_lightning.layers.backbones import Pretrained
from fer_lightning.weights import RANDOM, classes_in, load_fitting_content, read_source, tensors_in


class PretrainedParts(Pretrained):
    """Parts of a model, such as a stream of a fusion, whose training starts from a run of the stream alone.

    Args:
        parts: The parts, by their names in the run's model.
        weights: `random`, or `run:NAME` or the path of a run or checkpoint.
        class_names: Classes of the model, which those of the run must be.
    """

    def __init__(self, parts: Mapping[str, nn.Module], weights: str, class_names: Sequence[str]) -> None:
        self.parts, self.weights, self.class_names = dict(parts), weights, tuple(class_names)

    @property
    def source(self) -> str:
        """What `weights` names."""
        return self.weights

    def load_weights(self) -> None:
        """Load the weights of the run; with `random`, do nothing.

        Raises:
            FileNotFoundError: The run does not exist.
            ValueError: The run has other classes, or its parts are missing or have other shapes.
        """
        if self.weights != RANDOM:
            self.load_content(read_source(self.weights))

    def load_content(self, content: dict[str, object]) -> None:
        """Load the parts from the content of a run's checkpoint, every tensor of them.

        Raises:
            ValueError: The run has other classes, or its parts are missing or have other shapes.
        """
        classes = classes_in(content)
        if classes != self.class_names:
            raise ValueError(
                f"{self.weights} was trained on the classes {', '.join(classes) or 'none'}; expected "
                f"{', '.join(self.class_names)}, since its scores are used"
            )
        tensors = tensors_in(content, self.weights)
        state = {name: tensor for name, tensor in tensors.items() if name.split(".")[0] in self.parts}
        other_shape = load_fitting_content(nn.ModuleDict(self.parts), {"state_dict": state}, self.weights)
        if other_shape:
            raise ValueError(
                f"{self.weights} has another shape of {', '.join(other_shape)}; give both models the same settings of "
                f"{', '.join(self.parts)}"
            )
