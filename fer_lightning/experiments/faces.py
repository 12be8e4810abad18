"""In what the faces of a run differ from those that its system's paper made, or that its model was trained on.

All systems on a data set share its faces, so that they can be compared and are made once, and a store is named after
its settings, so that faces made in different ways never mix. A paper's faces are therefore asked for. What is installed
on a machine does not choose them: the same experiment would be another one elsewhere.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from data_modules.faces.network_versions import UNKNOWN, network_versions
from data_modules.faces.settings import FaceSettings
from data_modules.loading.batch import FACE_INPUTS, needed_settings
from fer_lightning.experiments.system import experiments_folder
from fer_lightning.runs.folder import read_yaml

CUT, MADE = ("margin", "align"), ("size", "lengthen")
"""Settings of what a model sees: where a face is cut out, and what becomes of the crops."""
NETWORKS = {"landmarks": "mesh", "person": "insightface"}
"""Settings of what not every model needs, with what finds it in clips without annotations."""


def difference_to_papers_faces(name: str, faces: FaceSettings) -> str:
    """Says what a run's faces are where the paper's are other ones, and how to get these.

    Args:
        name: of the paper's file in `experiments/faces/`; empty if there is none.
        faces: settings of the run's faces.

    Returns:
        A sentence; empty if there is no difference, or the faces are rendered and their places known. Landmarks and
        persons that the run does not look at are not compared.

    Raises:
        ValueError: the file does not hold settings of faces.
    """
    if not name or faces.detector == "annotation":
        return ""
    path = experiments_folder() / "faces" / f"{name}.yaml"
    stated, own = read_yaml(path), asdict(faces)
    if not isinstance(stated, dict) or not stated.keys() <= own.keys():
        raise ValueError(f"{path}: expected settings of faces, of {', '.join(own)}; found {str(stated)[:80]!r}")
    unused = {key for key in ("landmarks", "person") if own[key] == "none"}
    differing = [
        f"{key} {own[key]} instead of {value}"
        for key, value in stated.items()
        if own[key] != value and key not in unused
    ]
    if not differing:
        return ""
    missing = UNKNOWN in network_versions(replace(faces, **stated)).values()
    networks = "their networks are not installed here; where they are" if missing else "their networks are here"
    option = f"--data.dataset.faces {path}"
    return f"The faces are not those of the paper: {', '.join(differing)}. For the paper's ({networks}): {option}"


def faces_as_trained(trained: FaceSettings, own: FaceSettings, inputs: frozenset[str]) -> FaceSettings:
    """Returns the settings with which a model sees the faces of another data set as it saw those of its training.

    What finds the faces stays that of the data set, and so do the margins of faces that are cropped already. Landmarks
    and persons that the model was trained on by the data set's annotations are those of the other one's, if it has any.

    Args:
        trained: settings of the faces in training.
        own: those of the other data set.
        inputs: of the model.
    """
    if not FACE_INPUTS & inputs:
        return own
    names = MADE if own.detector == "crop" else (*CUT, *MADE)
    changed: dict[str, Any] = {name: getattr(trained, name) for name in names}
    for name in needed_settings(inputs) & NETWORKS.keys():
        source, present = getattr(trained, name), getattr(own, name)
        if source in ("annotation", "table", "none"):
            found = "annotation" if own.detector == "annotation" else NETWORKS[name]
            source = found if present == "none" else present
        changed[name] = source
    return replace(own, **changed)


def difference_to_training(trained: FaceSettings, faces: FaceSettings, inputs: Iterable[str], dataset: str) -> str:
    """Says in what the faces that a model is evaluated on differ from those of its training; empty if in nothing.

    Args:
        trained: settings of the faces in training.
        faces: those of the evaluation.
        inputs: of the model.
        dataset: name of the data set, for the sentence.
    """
    if not FACE_INPUTS & set(inputs):
        return ""
    names = (*CUT, *MADE, *sorted(needed_settings(inputs) & NETWORKS.keys()))
    values = [(name, getattr(faces, name), getattr(trained, name)) for name in names]
    differing = ", ".join(f"{name} {now} instead of {before}" for name, now, before in values if now != before)
    cropped = f"; those of {dataset} are cropped already" if faces.detector == "crop" else ""
    return f"The faces are not those of the training: {differing}{cropped}" if differing else ""
