"""Support vector machines that are trained, evaluated and reported by the same commands as the networks.

`LandmarkSVM` (table 9):
Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184

`OpenSmileSVM` (section 2):
Li et al. (2019), "Bi-modality Fusion for Emotion Recognition in the Wild", ICMI 2019,
https://doi.org/10.1145/3340555.3355719
"""

from collections.abc import Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor

from data_modules.datasets.splits import inseparable
from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.architectures.gradient_free import GradientFreeClassifier
from fer_lightning.architectures.vshnn.landmark_mlp import FRAMES, Descriptor, DescriptorScaling, describe
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.layers.scaling import RangeScaler
from fer_lightning.layers.support_vectors import COSTS, WIDTHS, Kernel, SupportVectorMachine

LINEAR_COSTS = (0.01, 0.1, 1.0, 10.0)


class SupportVectorClassifier(GradientFreeClassifier):
    """A support vector machine on one descriptor per clip, fitted at the start of the training.

    Its one epoch only evaluates the training clips. Subclasses define the descriptor in `describe_clips`. With
    `class_weights`, all classes have the same weight in the fit.

    Args:
        class_names: Emotion names in alphabetical order.
        costs: Candidates for C, chosen by cross-validation on the training clips.
        widths: Candidates for gamma, see `SupportVectorMachine`.
        kernel: `gaussian`, or `linear`, which accepts one width.
        training: Loss and class weights, see `VideoClassifier`. There is no optimiser.
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

    def describe_clips(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Return unscaled descriptors (B, D), and (B,) bool, true for samples with a descriptor."""
        raise NotImplementedError

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Fit the machine to the training clips with a descriptor."""
        records = [clip.record for clip in data.split("train")]
        group_of = {record.clip_id: group for record, group in zip(records, inseparable(records), strict=True)}
        vectors, labels, groups = [], [], []
        for batch in data.fitting_dataloader():
            x, present = self.describe_clips(batch)
            vectors.append(x[present])
            labels.append(batch.label[present])
            groups += [group_of[clip] for clip in compress(batch.clip_id, present.tolist())]
        self.machine.fit(torch.cat(vectors), torch.cat(labels), groups, self.class_weights)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify clips. The feature is the scaled descriptor; both are 0 for clips without a descriptor."""
        x, present = self.describe_clips(batch)
        outputs = (self.machine(x), self.machine.scaler(x))
        logits, feature = (torch.where(present[:, None], output, 0) for output in outputs)
        return ClassifierOutput(logits, feature)


class LandmarkSVM(SupportVectorClassifier):
    """The support vector machines of table 9, on LMED or LMED-CF.

    Example:
        >>> from fer_lightning import LandmarkSVM, random_batch
        >>> model = LandmarkSVM(("anger", "joy"))
        >>> model.describe_clips(random_batch(model.inputs))[0].shape
        torch.Size([2, 222])

    Args:
        class_names: Emotion names in alphabetical order.
        descriptor: See `LandmarkNet`.
        frames: Number N of frames of a clip, as set in the sampler.
        descriptor_scaling: See `DescriptorScaling`.
        machine: See `SupportVectorClassifier`.
    """

    inputs: frozenset[str] = frozenset({"landmarks"})

    def __init__(
        self,
        class_names: Sequence[str],
        descriptor: Descriptor = "lmed_cf",
        frames: int = FRAMES,
        descriptor_scaling: DescriptorScaling = "scaled",
        **machine: Any,
    ) -> None:
        super().__init__(class_names, **machine)
        self.descriptor, self.frames, self.scaling = descriptor, frames, descriptor_scaling
        self.machine.scaler = RangeScaler(0, scales=descriptor_scaling == "scaled")

    def describe_clips(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Describe landmarks (B, N, 68, 3); see `SupportVectorClassifier.describe_clips`."""
        assert batch.landmarks is not None
        return describe(batch.landmarks, batch.mask, self.descriptor, self.frames, self.scaling)


class OpenSmileSVM(SupportVectorClassifier):
    """An SVM on openSMILE's functionals: the other audio models of bi-modality fusion (Li et al., 2019, section 2).

    `--data.audio.functionals` selects the set of 384 (IS09) or 1582 (IS10) functionals. The paper gives no details of
    its SVM. [our choice] The kernel is linear, as in the two challenges that the sets are named after, since most data
    sets have fewer clips than functionals.

    Example:
        >>> from fer_lightning import OpenSmileSVM, random_batch
        >>> model = OpenSmileSVM(("anger", "joy"))
        >>> model.describe_clips(random_batch(model.inputs))[0].shape
        torch.Size([2, 384])

    Args:
        class_names: Emotion names in alphabetical order.
        costs: See `SupportVectorClassifier`.
        widths: See `SupportVectorClassifier`.
        kernel: See `SupportVectorClassifier`.
        training: Loss and class weights, see `VideoClassifier`. There is no optimiser.
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

    def describe_clips(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Return the functionals (B, D), and (B,) bool, true for clips with audio."""
        assert batch.descriptor is not None
        return batch.descriptor, batch.has("audio")
