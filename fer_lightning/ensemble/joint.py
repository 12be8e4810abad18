"""Joint late fusion: the ensemble of models in groups (section 6.6).

Do et al. (2021), "Context-Aware Emotion Recognition in the Wild Using Spatio-Temporal and Temporal-Pyramid Models",
Sensors 21, 2344, https://doi.org/10.3390/s21072344
"""

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

SHARPNESS = 5.0  # [our choice] logits at the start are the average's probabilities times this
DECAY = 0.5  # [our choice] of the squared distance from the start, against the sum of the clips' losses
STEPS = 300


@dataclass(frozen=True)
class JointScores:
    """What the branches make of B clips."""

    joint: Tensor  # (B, C) logits, of which the prediction is made
    branches: Tensor  # (B, G, C) logits of each group alone


class JointLateFusion(nn.Module):
    """Averages inside groups of models; a dense softmax on each average, and one on all of them together.

    The joint branch reads the concatenated averages ("merge the probability-merged layers of the two groups with a
    concatenation operator"), so the groups' own branches say what each group is worth and do not change the joint one.

    The loss is convex and minimised with all clips at once (L-BFGS, double precision), from the plain average as the
    start and with a penalty on the distance from it: with few clips the fusion stays near the average [our choice].
    Nothing is random, so there is no seed.

    Args:
        groups: the names of the models of each group.
        classes: C.

    Raises:
        ValueError: no group, an empty one, or a model in two.
    """

    def __init__(self, groups: Sequence[Sequence[str]], classes: int = 7) -> None:
        super().__init__()
        names = [name for group in groups for name in group]
        if not groups or not all(groups) or len(set(names)) != len(names):
            shown = " / ".join(", ".join(group) for group in groups) or "none"
            raise ValueError(f"groups {shown}: expected groups of at least one model each, and no model in two")
        self.groups = tuple(tuple(group) for group in groups)
        self.classes = classes
        self.branches = nn.ModuleList(nn.Linear(classes, classes) for _ in groups)
        self.joint = nn.Linear(len(groups) * classes, classes)
        self.double()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Every branch at the average of what it reads."""
        for layer in (*self.branches, self.joint):
            assert isinstance(layer, nn.Linear)
            share = layer.in_features // self.classes
            with torch.no_grad():
                layer.weight.copy_(torch.eye(self.classes).repeat(1, share) * (SHARPNESS / share))
                layer.bias.zero_()

    def forward(self, merged: Tensor) -> JointScores:
        """(B, G, C) averages of the groups -> the logits of all branches.

        A group that says nothing of a clip is a row of zeros: it is left out, and what the others weigh in the joint
        branch is scaled up to the weight of all [our choice], as in a weighted sum.
        """
        branches = torch.stack([branch(merged[:, g]) for g, branch in enumerate(self.branches)], dim=1)
        share = answered(merged).double().mean(dim=1).clamp_min(1 / len(self.groups))  # (B,) of the groups
        return JointScores(self.joint(merged.flatten(1) / share[:, None]), branches)

    def fit(self, p: Predictions, labels: ArrayLike) -> "JointLateFusion":
        """Trains all branches on (M, C) probabilities and labels (M,), from the start.

        Raises:
            ValueError: models that are not those of the groups, or arrays that do not fit.
        """
        merged, there = self._merged(p)
        truth = torch.from_numpy(checked_labels(labels, len(merged), self.classes))[there]
        merged = merged[there]
        self.reset_parameters()
        starts = [parameter.detach().clone() for parameter in self.parameters()]
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

        said, each = answered(merged), truth[:, None].expand(-1, len(self.groups))  # (B, G)

        def closure() -> Tensor:
            optimizer.zero_grad()
            scores = self(merged)
            loss = F.cross_entropy(scores.joint, truth, reduction="sum")
            loss = loss + F.cross_entropy(scores.branches[said], each[said], reduction="sum")
            moved = [(now - start).square().sum() for now, start in zip(self.parameters(), starts, strict=True)]
            loss = loss + DECAY * torch.stack(moved).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        with torch.enable_grad():
            optimizer.step(closure)  # type: ignore[no-untyped-call]
        return self

    def predict(self, p: Predictions) -> NDArray[np.float64]:
        """The joint branch's probabilities (M, C); NaN where no model has a prediction."""
        merged, there = self._merged(p)
        with torch.no_grad():
            probabilities = self(merged).joint.softmax(dim=1).numpy()
        return np.where(there.numpy()[:, None], probabilities, np.nan)

    def predict_branches(self, p: Predictions) -> list[NDArray[np.float64]]:
        """What each group's own branch says, (M, C) each; NaN where no model of the group has a prediction."""
        merged, _ = self._merged(p)
        with torch.no_grad():
            probabilities = self(merged).branches.softmax(dim=2).numpy()
        silent = [np.isnan(average({name: p[name] for name in group})) for group in self.groups]
        return [np.where(none, np.nan, probabilities[:, g]) for g, none in enumerate(silent)]

    def write(self, path: Path) -> None:
        """Writes what was fitted as a safetensors file; the groups stand in `ensemble.json`."""
        atomic_write(path, save(self.state_dict()))

    @classmethod
    def read(cls, path: Path, groups: Sequence[Sequence[str]], classes: int) -> "JointLateFusion":
        """What `write` wrote, of the same groups and classes.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of other groups or classes.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: it holds what joint late fusion was fitted to. Ensembles did not always keep it; "
                f"delete {path.parent} and make the ensemble again, with `fer ensemble` or `fer train`"
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
        """The groups' averages (M, G, C), zeros where no model of a group has a prediction; (M,) whether any has."""
        expected = sorted(name for group in self.groups for name in group)
        if sorted(p) != expected:
            raise ValueError(f"models {', '.join(sorted(p))}; the groups are of {', '.join(expected)}")
        averages = np.stack([average({name: p[name] for name in group}) for group in self.groups], axis=1)
        if averages.shape[2] != self.classes:
            raise ValueError(f"probabilities of {averages.shape[2]} classes; expected {self.classes}")
        there = ~np.isnan(averages).all(axis=(1, 2))
        return torch.from_numpy(np.nan_to_num(averages, nan=0.0)), torch.from_numpy(there)


def answered(merged: Tensor) -> Tensor:
    """(B, G, C) averages of groups -> (B, G) whether a group says anything: probabilities are never all zero."""
    return merged.any(dim=2)
