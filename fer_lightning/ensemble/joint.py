"""Joint late fusion of models in groups (Do et al., 2021, section 6.6, https://doi.org/10.3390/s21072344)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import save
from torch import Tensor, nn

from data_modules.utils.files import atomic_write
from fer_lightning.ensemble.sums import Predictions, average, checked_labels
from fer_lightning.weights import read_checkpoint, tensors_in

SHARPNESS = 5.0  # [our choice] the initial logits are the average's probabilities times this
DECAY = (
    0.5  # [our choice] weight of the squared distance from the initial parameters, beside the sum of the clips' losses
)
STEPS = 300


@dataclass(frozen=True)
class JointScores:
    """The logits of all branches for B clips."""

    joint: Tensor  # (B, C) logits of the prediction
    branches: Tensor  # (B, G, C) logits of each group alone


class JointLateFusion(nn.Module):
    """Averages the models of each group, with a softmax layer on each average and a joint one on all averages.

    The joint branch reads the concatenated averages ("merge the probability-merged layers of the two groups with a
    concatenation operator"). The branches of the groups show how good each group is; they do not change the joint one.

    The loss is convex. It is minimised over all clips at once (L-BFGS, double precision), starting from the plain
    average, with a penalty on the distance from the start [our choice], so that with few clips
    the fusion stays near the average. The training is deterministic and needs no seed.

    Args:
        groups: the names of the models of each group.
        classes: the number of classes, C.

    Raises:
        ValueError: there are no groups, a group is empty, or a model is in two groups.
    """

    def __init__(self, groups: Sequence[Sequence[str]], classes: int = 7) -> None:
        super().__init__()
        names = [name for group in groups for name in group]
        if not groups or not all(groups) or len(set(names)) != len(names):
            text = " / ".join(", ".join(group) for group in groups) or "none"
            raise ValueError(f"groups {text}: expected groups of at least one model each, and no model in two")
        self.groups = tuple(tuple(group) for group in groups)
        self.classes = classes
        self.branches = nn.ModuleList(nn.Linear(classes, classes) for _ in groups)
        self.joint = nn.Linear(len(groups) * classes, classes)
        self.double()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets every branch to the average of its inputs."""
        for layer in (*self.branches, self.joint):
            assert isinstance(layer, nn.Linear)
            share = layer.in_features // self.classes
            with torch.no_grad():
                layer.weight.copy_(torch.eye(self.classes).repeat(1, share) * (SHARPNESS / share))
                layer.bias.zero_()

    def forward(self, merged: Tensor) -> JointScores:
        """Computes the logits of all branches from the groups' averages (B, G, C).

        A group without a prediction is a row of zeros. It is left out, and the other groups' inputs to the joint branch
        are scaled up to compensate [our choice], as in a weighted sum.
        """
        branches = torch.stack([branch(merged[:, g]) for g, branch in enumerate(self.branches)], dim=1)
        share = groups_present(merged).double().mean(dim=1).clamp_min(1 / len(self.groups))  # (B,) of the groups
        return JointScores(self.joint(merged.flatten(1) / share[:, None]), branches)

    def fit(self, p: Predictions, labels: ArrayLike) -> "JointLateFusion":
        """Trains all branches from their initial state on probabilities (M, C) and labels (M,).

        Raises:
            ValueError: the models are not those of the groups, or shapes do not match.
        """
        merged, has_prediction = self._merged(p)
        truth = torch.from_numpy(checked_labels(labels, len(merged), self.classes))[has_prediction]
        merged = merged[has_prediction]
        self.reset_parameters()
        starts = [parameter.detach().clone() for parameter in self.parameters()]
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

        present, group_truth = groups_present(merged), truth[:, None].expand(-1, len(self.groups))  # (B, G)

        def closure() -> Tensor:
            optimizer.zero_grad()
            scores = self(merged)
            loss = F.cross_entropy(scores.joint, truth, reduction="sum")
            loss = loss + F.cross_entropy(scores.branches[present], group_truth[present], reduction="sum")
            distances = [(now - start).square().sum() for now, start in zip(self.parameters(), starts, strict=True)]
            loss = loss + DECAY * torch.stack(distances).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        with torch.enable_grad():
            optimizer.step(closure)  # type: ignore[no-untyped-call]
        return self

    def predict(self, p: Predictions) -> NDArray[np.float64]:
        """Returns the joint branch's probabilities (M, C); NaN where no model has a prediction."""
        merged, has_prediction = self._merged(p)
        with torch.no_grad():
            probabilities = self(merged).joint.softmax(dim=1).numpy()
        return np.where(has_prediction.numpy()[:, None], probabilities, np.nan)

    def predict_branches(self, p: Predictions) -> list[NDArray[np.float64]]:
        """Returns the probabilities (M, C) of each group's branch; NaN where no model of the group has a prediction."""
        merged, _ = self._merged(p)
        with torch.no_grad():
            probabilities = self(merged).branches.softmax(dim=2).numpy()
        missing = [np.isnan(average({name: p[name] for name in group})) for group in self.groups]
        return [np.where(rows, np.nan, probabilities[:, g]) for g, rows in enumerate(missing)]

    def write(self, path: Path) -> None:
        """Writes the fitted weights as a safetensors file; the groups are in `ensemble.json`."""
        atomic_write(path, save(self.state_dict()))

    @classmethod
    def read(cls, path: Path, groups: Sequence[Sequence[str]], classes: int) -> "JointLateFusion":
        """Reads a file that `write` wrote for the same groups and classes.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged, or of other groups or classes.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: it holds the fitted weights of the joint late fusion, which older versions did "
                f"not save; delete {path.parent} and make the ensemble again, with `fer ensemble` or `fer train`"
            )
        fusion = cls(groups, classes)
        try:
            fusion.load_state_dict(tensors_in(read_checkpoint(path), path))
        except RuntimeError as error:
            raise ValueError(
                f"{path} does not fit {len(groups)} groups of models with {classes} classes ({error}); make the "
                "ensemble again"
            ) from error
        return fusion

    def _merged(self, p: Predictions) -> tuple[Tensor, Tensor]:
        """Returns the groups' averages (M, G, C), zero without a prediction, and whether any model has one (M,)."""
        expected = sorted(name for group in self.groups for name in group)
        if sorted(p) != expected:
            raise ValueError(f"models {', '.join(sorted(p))}; expected those of the groups, {', '.join(expected)}")
        averages = np.stack([average({name: p[name] for name in group}) for group in self.groups], axis=1)
        if averages.shape[2] != self.classes:
            raise ValueError(f"probabilities of {averages.shape[2]} classes; expected {self.classes}")
        has_prediction = ~np.isnan(averages).all(axis=(1, 2))
        return torch.from_numpy(np.nan_to_num(averages, nan=0.0)), torch.from_numpy(has_prediction)


def groups_present(merged: Tensor) -> Tensor:
    """Returns whether each group has a prediction (B, G), from averages (B, G, C) that are zero if it has none."""
    return merged.any(dim=2)
