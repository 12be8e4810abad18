"""Keeps the module names of version 0.1.0 working, for its checkpoints and runs and for imports in other code.

Checkpoints, runs and configurations name classes by module. A module that has moved is still found under its old name,
with a `DeprecationWarning`. The old names will be removed in version 1.0.
"""

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ALIASES = {"data_modules.tracking": "data_modules.faces"}
"""Permanent second names of rooms, which give no warning."""

MOVED = {
    "data_modules.alignment": "data_modules.faces.alignment",
    "data_modules.appearance": "data_modules.faces.appearance",
    "data_modules.archives": "data_modules.video.archives",
    "data_modules.base": "data_modules.loading.datamodule",
    "data_modules.batch": "data_modules.loading.batch",
    "data_modules.batching": "data_modules.loading.batch_sampler",
    "data_modules.contact_sheet": "data_modules.prepare.contact_sheet",
    "data_modules.coverage": "data_modules.prepare.coverage",
    "data_modules.descriptors": "data_modules.audio.opensmile",
    "data_modules.detection": "data_modules.faces.detection",
    "data_modules.doctor": "data_modules.datasets.doctor",
    "data_modules.face_table": "data_modules.faces.face_table",
    "data_modules.feature_cache": "data_modules.store.feature_cache",
    "data_modules.files": "data_modules.utils.files",
    "data_modules.fold_files": "data_modules.datasets.fold_files",
    "data_modules.folds": "data_modules.datasets.folds",
    "data_modules.images": "data_modules.video.images",
    "data_modules.insightface_models": "data_modules.faces.insightface",
    "data_modules.interpolation": "data_modules.video.interpolation",
    "data_modules.landmarks": "data_modules.faces.landmarks",
    "data_modules.main_face": "data_modules.faces.main_face",
    "data_modules.number_table": "data_modules.faces.number_table",
    "data_modules.onnx_session": "data_modules.faces.onnx_session",
    "data_modules.pool": "data_modules.utils.pool",
    "data_modules.prepare_sound": "data_modules.prepare.audio",
    "data_modules.progress": "data_modules.utils.progress",
    "data_modules.samples": "data_modules.loading.clip_dataset",
    "data_modules.sound_cache": "data_modules.store.audio_cache",
    "data_modules.source": "data_modules.video.source",
    "data_modules.spectrogram": "data_modules.audio.spectrogram",
    "data_modules.speech": "data_modules.audio.speech",
    "data_modules.splits": "data_modules.datasets.splits",
    "data_modules.tensor_file": "data_modules.store.tensor_file",
    "data_modules.transforms": "data_modules.loading.transforms",
    "data_modules.truth": "data_modules.faces.ground_truth",
    "data_modules.turned": "data_modules.video.rotation",
    # the rooms of fer_lightning
    "fer_lightning.architectures.context_frames": "fer_lightning.architectures.context.frames",
    "fer_lightning.architectures.context_pyramid": "fer_lightning.architectures.context.pyramid",
    "fer_lightning.architectures.context_spatiotemporal": "fer_lightning.architectures.context.spatiotemporal",
    "fer_lightning.architectures.landmark_mlp": "fer_lightning.architectures.vshnn.landmark_mlp",
    "fer_lightning.architectures.single_streams": "fer_lightning.architectures.vshnn.single_streams",
    "fer_lightning.architectures.spectrogram_cnn": "fer_lightning.architectures.bimodal.spectrogram_cnn",
    "fer_lightning.architectures.unoptimised": "fer_lightning.architectures.gradient_free",
    "fer_lightning.architectures.vshnn_fusion": "fer_lightning.architectures.vshnn.fusion",
    "fer_lightning.bench.command": "fer_lightning.cli.bench",
    "fer_lightning.callbacks": "fer_lightning.training.callbacks",
    "fer_lightning.checkpoints": "fer_lightning.training.checkpoints",
    "fer_lightning.classifier": "fer_lightning.training.classifier",
    "fer_lightning.clip_outputs": "fer_lightning.evaluation.clip_outputs",
    "fer_lightning.compare": "fer_lightning.cli.compare",
    "fer_lightning.cost": "fer_lightning.training.cost",
    "fer_lightning.data": "fer_lightning.cli.data",
    "fer_lightning.ensemble.command": "fer_lightning.cli.ensemble",
    "fer_lightning.ensemble.record": "fer_lightning.runs.ensemble_record",
    "fer_lightning.ensemble.section": "fer_lightning.report.sections.members",
    "fer_lightning.evaluate": "fer_lightning.experiments.other_data",
    "fer_lightning.features": "fer_lightning.training.feature_caching",
    "fer_lightning.figures": "fer_lightning.report.figures",
    "fer_lightning.figures.activation": "fer_lightning.report.sections.activation",
    "fer_lightning.figures.charts": "fer_lightning.report.sections.confusion",
    "fer_lightning.figures.curves": "fer_lightning.report.sections.curves",
    "fer_lightning.figures.embedding": "fer_lightning.report.sections.features",
    "fer_lightning.figures.examples": "fer_lightning.report.figures.examples",
    "fer_lightning.figures.relations": "fer_lightning.report.sections.relations",
    "fer_lightning.figures.style": "fer_lightning.report.figures.style",
    "fer_lightning.lightning_cli": "fer_lightning.experiments.lightning_cli",
    "fer_lightning.loading": "fer_lightning.training.loading",
    "fer_lightning.loggers": "fer_lightning",
    "fer_lightning.metrics": "fer_lightning.evaluation.metrics",
    "fer_lightning.noise": "fer_lightning.experiments.noise",
    "fer_lightning.outputs": "fer_lightning.evaluation.outputs",
    "fer_lightning.predict.command": "fer_lightning.cli.predict",
    "fer_lightning.predictions": "fer_lightning.evaluation.predictions",
    "fer_lightning.protocol": "fer_lightning.tables.cross_validation",
    "fer_lightning.schedules": "fer_lightning.training.schedules",
    "fer_lightning.sections": "fer_lightning.report.sections",
    "fer_lightning.standing": "fer_lightning.experiments.resume",
    "fer_lightning.train": "fer_lightning.cli.train",
    "fer_lightning.video_faces": "fer_lightning.predict.face_export",
}
"""Modules of version 0.1.0 that have moved. Where the old path is a room now (`data_modules.faces`), the room exports
the public names of the old module. A module that is two files now leads to the package that exports both of them.
"""


class _AliasLoader(Loader):
    """Loads the new module under its old name."""

    def __init__(self, new: str) -> None:
        self.new = new

    def create_module(self, spec: ModuleSpec) -> None:
        """Lets the interpreter create an empty module, which `exec_module` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Replaces the old name's entry in `sys.modules`, which the import returns."""
        sys.modules[module.__name__] = import_module(self.new)


class OldPaths(MetaPathFinder):
    """Finds modules under their old names.

    Args:
        moved: new name of each old name; old names give a `DeprecationWarning`.
        aliases: further names, which give no warning.
    """

    def __init__(self, moved: Mapping[str, str], aliases: Mapping[str, str]) -> None:
        self.moved, self.aliases = moved, aliases

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the spec of the new module, or None if this is not an old name."""
        new = self.aliases.get(fullname)
        if new is None and fullname in self.moved:
            new = self.moved[fullname]
            warnings.warn(
                f"{fullname} is now {new}; the old name will be removed in version 1.0",
                DeprecationWarning,
                stacklevel=2,
            )
        return None if new is None else ModuleSpec(fullname, _AliasLoader(new))


def install() -> None:
    """Registers the finder of old names, before others that would load the files of a moved package twice."""
    if not any(isinstance(finder, OldPaths) for finder in sys.meta_path):
        sys.meta_path.insert(0, OldPaths(MOVED, ALIASES))
