"""The suite's own model of real faces, which predictions use where no other is named.

It is what `fer export` writes of `stills_fer2013` at small size; the card beside it has its figures and limits.
"""

from pathlib import Path

from data_modules.utils.checksum import cached_sha256

FILE = Path(__file__).parent / "faces.safetensors"
SHA256 = "008cc1b85118d774447f533bbeb03d86bc135b7bb0a7f82c46da281b845ecec2"


def own_model() -> Path:
    """Returns the path of the model's file.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file has another content.
    """
    if not FILE.is_file():
        raise FileNotFoundError(
            f"{FILE} is missing from this installation: install the suite again, or name a run (--checkpoint)"
        )
    found = cached_sha256(FILE)
    if found != SHA256:
        raise ValueError(
            f"{FILE} has the SHA-256 {found}; expected {SHA256}: it is damaged or was replaced. Install the suite "
            "again, or name the file itself (--checkpoint) if that is meant"
        )
    return FILE
