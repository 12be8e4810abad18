"""The models of `zoo.yaml`, which `--checkpoint NAME` finds; the suite's own model of real faces is one of them.

That is what `fer export` writes of `stills_fer2013` at small size; the card beside it has its figures and limits.
"""

from dataclasses import dataclass
from pathlib import Path

from fer_lightning.runs.folder import read_yaml
from fer_lightning.zoo.hub import HubModel
from fer_lightning.zoo.model_file import refuse_other_content

ZOO = Path(__file__).parent / "zoo.yaml"
OWN = "faces"
"""The name of the model that predicts where no other is named."""


@dataclass(frozen=True)
class ZooModel:
    """An entry of `zoo.yaml`.

    Args:
        name: what `--checkpoint` finds it by.
        file: the name of a file beside `zoo.yaml`, or `hf:OWNER/NAME`.
        sha256: of the file, in hexadecimal.
        card: the name of a file beside `zoo.yaml`, or an address.
        licence: of the data that it was trained on, and what that means for the weights.
        results: of the reported split.
    """

    name: str
    file: str
    sha256: str
    card: str
    licence: str
    results: str

    @property
    def on_hub(self) -> HubModel | None:
        """The model on the Hugging Face Hub; None for a file that comes with the suite."""
        return HubModel.parse(self.file) if HubModel.is_named_by(self.file) else None

    @property
    def card_location(self) -> str:
        """The path or the address of the card."""
        beside = ZOO.parent / self.card
        return str(beside) if beside.is_file() else self.card

    def path(self) -> Path:
        """Returns the path of the model's file on this machine.

        Raises:
            FileNotFoundError: the file is missing, or was not fetched yet.
            ValueError: the file has another content.
        """
        if self.on_hub is not None:
            path, advice = self.on_hub.cached(f"fer pull {self.name}"), f"Fetch it again: `fer pull {self.name}`"
        else:
            path = ZOO.parent / self.file
            advice = "Install the suite again, or name the file itself (--checkpoint) if that is meant"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing from this installation: install the suite again, or name a run (--checkpoint)"
            )
        refuse_other_content(path, self.sha256, advice)
        return path


def zoo() -> dict[str, ZooModel]:
    """Returns the models of `zoo.yaml` by name.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is damaged; the message names it.
    """
    if not ZOO.is_file():
        raise FileNotFoundError(f"{ZOO} is missing from this installation: install the suite again")
    values = read_yaml(ZOO)
    try:
        return {name: ZooModel(name, **entry) for name, entry in values.items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"{ZOO} is damaged ({error}); expected for each name: file, sha256, card, licence and results"
        ) from error


def own_model() -> Path:
    """Returns the path of the suite's own model of real faces, which predictions use where no other is named.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file has another content.
    """
    return zoo()[OWN].path()
