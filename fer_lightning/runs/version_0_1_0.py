"""What version 0.1.0 wrote, as this version writes it: settings, and names of tensors.

Modules that have moved are listed in `data_modules.utils.old_paths`.
"""

from collections.abc import Mapping
from typing import Any

from fer_lightning.paths import RUN

RENAMED_KEYS: Mapping[str, str] = {
    "data.sound": "data.audio",
    "data.variants": "data.train_views",
    "data.dataset.init_args.faces.sound": "data.dataset.init_args.faces.audio",
}
"""Settings by their place -> their place today."""

RENAMED_ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "AllFramesSampler": {"draws": "eval_views"},
    "AudioVisual": {"sound_backbone": "audio_backbone"},
    "CEFLNet": {"clips": "num_clips"},
    "MiddleFrameSampler": {"draws": "eval_views"},
    "RandomSampler": {"draws": "eval_views"},
    "SegmentSampler": {"draws": "eval_views"},
    "StaticFrameVote": {"never": "unsupported_classes"},
    "SubvideoSampler": {"draws": "eval_views"},
}
"""Class -> its arguments -> their names today."""

RENAMED_VALUES: Mapping[str, Mapping[str, object]] = {
    "modalities": {"sound": "audio"},
    "pixels": {"imagenet": None},  # was the default and is now left to the weights
}
"""Argument -> its values -> what they are today."""

RENAMED_EXPERIMENTS: Mapping[str, str] = {
    "c3d_pretraining": "c3d_synthetic_pretraining",
    "context_face_synthetic": "context_face_synthetic_stills",
    "context_scene_synthetic": "context_scene_synthetic_occluded_stills",
    "densenet_fc_synthetic": "densenet_fc_synthetic_stills",
    "ecnn_stills_synthetic": "ecnn_stills_synthetic_stills",
    "stills_synthetic": "stills_synthetic_stills",
    "vgg16_synthetic": "vgg16_synthetic_stills",
}
"""Experiments whose weights others start from -> their names today."""

NETWORK = ("descriptor", "modules", "landmark_width", "frames")
FUSIONS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "ic": ("IntermediateConcatenation", ("descriptor", "frames"), {}),
    "ws": ("WeightedSum", ("alpha", *NETWORK), {}),
    "lrmf": ("LowRankMultiModalFusion", ("rank", *NETWORK), {"attention": False}),
    "lrmaf": ("LowRankMultiModalFusion", ("rank", *NETWORK), {"attention": True}),
}
"""VSHNN's `fusion` as a word: its class now, which of VSHNN's arguments are now its own, and what else it is given."""

MOVED_TO_FUSION = {name for _, names, _ in FUSIONS.values() for name in names}
RENAMED = {"landmark_width": "width"}

TENSORS = {
    "late.net.": "fusion.net.",
    "late.fuse.fusion.": "fusion.low_rank.",
    "late.fuse.alpha": "fusion.alpha",
    "concatenation.": "fusion.",
}
"""How names of VSHNN's tensors began, and how they begin now."""


def upgrade_configuration(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A run's resolved configuration as this version writes it; one of this version stays as it is.

    Args:
        configuration: as in `config.yaml` and in checkpoints; an ensemble's has no `model`.
    """
    configuration = _with_current_names(configuration, "")
    model: Any = configuration.get("model")
    if not _is_vshnn(model):
        return dict(configuration)
    arguments = model["init_args"]
    kept = {name: value for name, value in arguments.items() if name not in MOVED_TO_FUSION}
    if isinstance(arguments.get("fusion"), str):
        kept["fusion"] = _fusion(arguments)
    return {**configuration, "model": {**model, "init_args": kept}}


def upgrade_checkpoint(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint of this suite holds as this version writes it; others stay as they are."""
    own, state = content.get("fer_lightning"), content.get("state_dict")
    configuration = own.get("configuration") if isinstance(own, Mapping) else None
    if not (isinstance(own, Mapping) and isinstance(configuration, Mapping) and isinstance(state, Mapping)):
        return dict(content)
    if _is_vshnn(configuration.get("model")):
        state = {_tensor_name(name): value for name, value in state.items()}
    upgraded = {**own, "configuration": upgrade_configuration(configuration)}
    return {**content, "fer_lightning": upgraded, "state_dict": state}


def _with_current_names(values: Any, place: str) -> Any:
    """The same values under today's keys, arguments and words; `place` is the dotted key at which they stand."""
    if isinstance(values, list):
        return [_with_current_names(value, place) for value in values]
    if not isinstance(values, Mapping):
        return values
    arguments = RENAMED_ARGUMENTS.get(str(values.get("class_path")).rsplit(".", 1)[-1], {})
    result = {}
    for key, value in values.items():
        inside = f"{place}.{key}" if place else key
        name = RENAMED_KEYS.get(inside, inside).rsplit(".", 1)[-1]
        if key == "init_args" and isinstance(value, Mapping):
            value = {arguments.get(argument, argument): each for argument, each in value.items()}
        result[name] = _with_current_names(_current_value(key, value), inside)
    return result


def _current_value(name: str, value: Any) -> Any:
    """The value of an argument as it is written today."""
    words = RENAMED_VALUES.get(name, {})
    if isinstance(value, str) and value.startswith(RUN):
        experiment = value.removeprefix(RUN)
        return RUN + RENAMED_EXPERIMENTS.get(experiment, experiment)
    if isinstance(value, list):
        return [words.get(each, each) if isinstance(each, str) else each for each in value]
    return words.get(value, value) if isinstance(value, str) else value


def _is_vshnn(model: Any) -> bool:
    path = str(model.get("class_path", "")) if isinstance(model, Mapping) else ""
    return path.startswith("fer_lightning.") and path.endswith(".VSHNN") and "init_args" in model


def _fusion(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fusion of VSHNN's arguments as class and arguments of its own.

    Raises:
        ValueError: version 0.1.0 had no such fusion.
    """
    word = arguments["fusion"]
    if word == "none":
        return None
    if word not in FUSIONS:
        raise ValueError(f"VSHNN's fusion was one of none, {', '.join(FUSIONS)} in version 0.1.0; found {word!r}")
    name, names, new = FUSIONS[word]
    stated = {RENAMED.get(name, name): arguments[name] for name in names if name in arguments}
    return {"class_path": f"fer_lightning.{name}", "init_args": stated | new}


def _tensor_name(name: str) -> str:
    for before, now in TENSORS.items():
        if name.startswith(before):
            return now + name.removeprefix(before)
    return name
