"""Whether the weights that a run starts from have the shapes of its model, found out before anything is trained.

Models are built on torch's meta device, without memory for their tensors, and are given to the code that loads
checkpoints, so that its own rule decides. Only shapes are compared: which pixels weights expect is known once they are
trained.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from data_modules.datasets.dataset import DatasetNotFoundError, VideoDataset
from data_modules.labels import SEVEN
from data_modules.sampling import FrameSampler
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.request import ExperimentRequest, required_runs
from fer_lightning.layers.pixels import PixelConversion
from fer_lightning.paths import RUN
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.rebuilding import without_training
from fer_lightning.weights import ABOUT_PIXELS, RANDOM, load_fitting_content, read_source, tensors_in

Content = dict[str, object]
Loader = Callable[[Content], object]


@dataclass
class ShapeCheck:
    """Compares the shapes of models with those of the weights that they start from; what was built is kept.

    Args:
        read: reads the complete configuration of a model's request.
    """

    read: Callable[[ExperimentRequest], dict[str, Any]] = read_model
    _class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _models: dict[str, VideoClassifier] = field(default_factory=dict)
    _configs: dict[ExperimentRequest, dict[str, Any]] = field(default_factory=dict)
    _contents: dict[str, Content] = field(default_factory=dict)
    _passed: set[tuple[str, str, str]] = field(default_factory=set)

    def check(self, name: str, config: dict[str, Any], variants: Mapping[str, ExperimentRequest] | None = None) -> None:
        """Checks the weights that a model starts from, and those that these start from.

        Args:
            name: the name of the model's run, for messages.
            config: its complete configuration.
            variants: `<experiment>.<variant>` -> the request of a variant, whose arguments no file states. The weights
                of variants that are neither among them nor finished are not checked.

        Raises:
            FileNotFoundError: a run that is named has no experiment.
            ValueError: weights have other shapes than the model; the message names both runs, and tensors with their
                shapes.
        """
        if not any(required_runs(config["model"])):
            return
        model = self._model(config)
        for source, load in _loaders(model):
            found = self._content(source, variants or {})
            key = (self._key(config), source, found[0] if found else "")
            if found and key not in self._passed:
                _try(name, source, load, found[1])
                self._passed.add(key)

    def _content(self, source: str, variants: Mapping[str, ExperimentRequest]) -> tuple[str, Content] | None:
        """Returns a key and the content that the checkpoint of a named run has or will have, with meta tensors."""
        named = ExperimentRequest.from_run_name(source.removeprefix(RUN))
        run_name = named.run.path.parent.name
        if source in self._contents:
            return source, self._contents[source]
        if named.run.finished:
            with suppress(FileNotFoundError):  # its checkpoints were deleted
                self._contents[source] = _without_memory(read_source(source))
                return source, self._contents[source]
        if named.name and run_name not in variants:
            return None
        config = self._config(replace(variants.get(run_name, named), seed=0, fold="1"))
        key = self._key(config)
        if key not in self._contents:
            self.check(run_name, config, variants)
            self._contents[key] = _checkpoint_content(self._model(config))
        return key, self._contents[key]

    def _config(self, request: ExperimentRequest) -> dict[str, Any]:
        """Reads a configuration once; shapes depend neither on the seed nor on the fold."""
        if request not in self._configs:
            self._configs[request] = self.read(request)
        return self._configs[request]

    def _model(self, config: dict[str, Any]) -> VideoClassifier:
        """Returns a model of a configuration, on the meta device."""
        key = self._key(config)
        if key not in self._models:
            self._models[key] = build_without_memory(config, self._classes(config))
        return self._models[key]

    def _key(self, config: dict[str, Any]) -> str:
        return json.dumps([without_training(config["model"], self._classes(config)), config["data"]["sampler"]])

    def _classes(self, config: dict[str, Any]) -> tuple[str, ...]:
        """Returns the class names of a configuration's data set; seven if they are read from data that is not here."""
        key = json.dumps(config["data"]["dataset"])
        if key not in self._class_names:
            parser = ArgumentParser(exit_on_error=False)
            parser.add_subclass_arguments(VideoDataset, "dataset")
            dataset = parser.instantiate_classes(parser.parse_object({"dataset": config["data"]["dataset"]})).dataset
            try:
                self._class_names[key] = tuple(dataset.class_names)
            except DatasetNotFoundError:
                self._class_names[key] = SEVEN
        return self._class_names[key]


def build_without_memory(config: dict[str, Any], class_names: tuple[str, ...]) -> VideoClassifier:
    """Builds the model of a configuration on the meta device; only what it knows about pixels has values.

    Args:
        config: a model's complete configuration.
        class_names: of its data set.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(VideoClassifier, "model")
    parser.add_argument("--sampler", type=FrameSampler)
    parser.link_arguments("sampler.num_clips", "model.init_args.num_clips", apply_on="instantiate")
    content = {"model": without_training(config["model"], class_names), "sampler": config["data"]["sampler"]}
    parsed = parser.parse_object(content)
    with torch.device("meta"):
        model = cast(VideoClassifier, parser.instantiate_classes(parsed).model)
    for module in model.modules():
        if isinstance(module, PixelConversion):
            for name, value in PixelConversion(module.convention).named_buffers():
                module.register_buffer(name, value)
    return model


def _loaders(model: VideoClassifier) -> list[tuple[str, Loader]]:
    """Returns the sources `run:NAME` of a model with what loads them, as `VideoClassifier.begin_training` does."""
    if model.start_from != RANDOM:
        every = [(model.start_from, lambda content: _load_whole(model, content))]
    else:
        every = [(part.source, part.load_content) for part in model.pretrained()]
    return [(source, load) for source, load in every if source.startswith(RUN)]


def _load_whole(model: VideoClassifier, content: Content) -> None:
    """Loads a whole model, with the pixels that it expects itself."""
    pixels = {key: value for key, value in model.state_dict().items() if ABOUT_PIXELS.search(key)}
    state = {key: value for key, value in tensors_in(content, model.start_from).items() if not ABOUT_PIXELS.search(key)}
    load_fitting_content(model, content | {"state_dict": state | pixels}, model.start_from)


def _try(name: str, source: str, load: Loader, content: Content) -> None:
    """Loads weights and names the run if they do not fit."""
    try:
        load(content)
    except ValueError as error:
        raise ValueError(
            f"{name} starts from the weights of {source}, which do not fit its model. Nothing was trained; give "
            f"both experiments the same arguments of the model, or start from another run: {error}"
        ) from error


def _checkpoint_content(model: VideoClassifier) -> Content:
    """Returns what a checkpoint of a model contains."""
    content: Content = {"state_dict": dict(model.state_dict())}
    model.on_save_checkpoint(content)
    return content


def _without_memory(content: Content) -> Content:
    """Returns the content of a checkpoint with meta tensors; those about pixels keep their values."""
    state = tensors_in(content, "the checkpoint")
    kept: dict[str, Tensor] = {
        key: value if ABOUT_PIXELS.search(key) else value.to("meta") for key, value in state.items()
    }
    return content | {"state_dict": kept}
