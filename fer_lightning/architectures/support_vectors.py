"""Support vector machines as systems like all others: trained, evaluated and reported by the same commands.

Of landmarks (table 9):
Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184

Of openSMILE's functionals (section 2):
Li et al. (2019), "Bi-modality Fusion for Emotion Recognition in the Wild", ICMI 2019,
https://doi.org/10.1145/3340555.3355719
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from data_modules.datasets.splits import person_or_film
from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.architectures.gradient_free import GradientFreeClassifier
from fer_lightning.architectures.vshnn.landmark_mlp import FRAMES, Descriptor, describe
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.support_vectors import COSTS, WIDTHS, Kernel, SupportVectorMachine

LINEAR_COSTS = (0.01, 0.1, 1.0, 10.0)


class SupportVectorClassifier(GradientFreeClassifier):
    """A support vector machine on one descriptor a clip, fitted when the training begins.

    Its one epoch has nothing to optimise and only measures the training clips. A class for one kind of input says what
    describes a clip. With `class_weights` all classes weigh the same in the fit.

    Args:
        class_names: emotion names in alphabetical order.
        costs: C, to choose from on folds of the training clips.
        widths: gamma, likewise, see `SupportVectorMachine`.
        kernel: `gaussian`, or `linear`, which takes one width.
        training: loss and class weights, see `VideoClassifier`; there is no optimiser.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        costs: Sequence[float] = COSTS,
        widths: Sequence[float] = WIDTHS,
        kernel: Kernel = "gaussian",
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.machine = SupportVectorMachine(len(class_names), costs, widths, kernel)

    def described(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Descriptors (B, D), unscaled, and (B,) which samples have one."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Refuses several processes, where there is no gradient to share.

        Raises:
            ValueError: the training was started in more than one.
        """
        super().setup(stage)
        if stage == "fit" and self.trainer.world_size > 1:
            raise ValueError(
                f"a support vector machine is fitted in one process, not in {self.trainer.world_size}: set "
                "--trainer.devices 1 --trainer.num_nodes 1"
            )

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Fits the machine, the same on every process; samples without a descriptor take no part."""
        group_of = {clip.record.clip_id: person_or_film(clip.record) for clip in data.split("train")}
        vectors, labels, groups = [], [], []
        for batch in data.fitting_dataloader():
            x, present = self.described(batch)
            vectors.append(x[present])
            labels.append(batch.label[present])
            groups += [group_of[clip] for clip, there in zip(batch.clip_id, present.tolist(), strict=True) if there]
        self.machine.fit(torch.cat(vectors), torch.cat(labels), groups, self.class_weights)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Logits, the same for all classes where there is no descriptor, and the scaled descriptor."""
        x, present = self.described(batch)
        values = (self.machine(x), self.machine.scaler(x))
        logits, feature = (torch.where(present[:, None], value, 0) for value in values)
        return ClassifierOutput(logits, feature)


class LandmarkSVM(SupportVectorClassifier):
    """Table 9's support vector machines, on LMED or LMED-CF.

    Example:
        >>> from fer_lightning import LandmarkSVM, random_batch
        >>> model = LandmarkSVM(("anger", "joy"))
        >>> model.described(random_batch(model.inputs))[0].shape
        torch.Size([2, 222])

    Args:
        class_names: emotion names in alphabetical order.
        descriptor: see `LandmarkNet`.
        frames: of a clip, as the sampler gives them.
        machine: see `SupportVectorClassifier`.
    """

    inputs: frozenset[str] = frozenset({"landmarks"})

    def __init__(
        self,
        class_names: Sequence[str],
        descriptor: Descriptor = "lmed_cf",
        frames: int = FRAMES,
        **machine: Any,
    ) -> None:
        super().__init__(class_names, **machine)
        self.descriptor, self.frames = descriptor, frames

    def described(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Landmarks (B, N, 68, 3) -> (B, D) and (B,)."""
        assert batch.landmarks is not None
        return describe(batch.landmarks, batch.mask, self.descriptor, self.frames)


class OpenSmileSVM(SupportVectorClassifier):
    """Bi-modality fusion's other audio models (Li et al., 2019, section 2): openSMILE's functionals into an SVM.

    The set of 384 (IS09) or 1582 (IS10) is the data's: `--data.audio.functionals`. The paper says no more of its SVM.
    [our choice] A linear kernel, as the two challenges that the sets are named after had, for there are more values
    than clips of most data sets.

    Example:
        >>> from fer_lightning import OpenSmileSVM, random_batch
        >>> model = OpenSmileSVM(("anger", "joy"))
        >>> model.described(random_batch(model.inputs))[0].shape
        torch.Size([2, 384])

    Args:
        class_names: emotion names in alphabetical order.
        costs: see `SupportVectorClassifier`.
        widths: likewise.
        kernel: likewise.
        training: loss and class weights, see `VideoClassifier`; there is no optimiser.
    """

    inputs: frozenset[str] = frozenset({"descriptor"})

    def __init__(
        self,
        class_names: Sequence[str],
        costs: Sequence[float] = LINEAR_COSTS,
        widths: Sequence[float] = (1.0,),
        kernel: Kernel = "linear",
        **training: Any,
    ) -> None:
        super().__init__(class_names, costs, widths, kernel, **training)

    def described(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Functionals (B, D), and (B,) which clips have sound."""
        assert batch.descriptor is not None
        return batch.descriptor, batch.has("audio")
