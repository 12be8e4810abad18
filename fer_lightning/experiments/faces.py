"""In what the faces of a run differ from those that its system's paper made.

All systems on a data set share its faces, so that they can be compared and are made once, and a store is named after
its settings, so that faces made in different ways never mix. A paper's faces are therefore asked for. What is installed
on a machine does not choose them: the same experiment would be another one elsewhere.
"""

from dataclasses import asdict, replace

from data_modules.faces.network_versions import UNKNOWN, network_versions
from data_modules.faces.settings import FaceSettings
from fer_lightning.experiments.system import experiments_folder
from fer_lightning.runs.folder import read_yaml


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
