"""How a model on the Hugging Face Hub is named, and found on this machine: a file of `fer export`, and its card."""

import re
from dataclasses import dataclass
from pathlib import Path

HUB = "hf:"
MODEL, CARD = "model.safetensors", "README.md"
NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class HubModel:
    """A model's repository on the Hub.

    Args:
        repository: `OWNER/NAME`.
        revision: a branch, tag or commit.
    """

    repository: str
    revision: str = "main"

    @staticmethod
    def is_named_by(name: str) -> bool:
        """Whether a name is meant for a model on the Hub."""
        return name.startswith(HUB)

    @classmethod
    def parse(cls, name: str) -> "HubModel":
        """Parses `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`; `hf:` may be left out.

        Raises:
            ValueError: the name is none of these.
        """
        found = NAME.fullmatch(name.removeprefix(HUB))
        if found is None:
            raise ValueError(f"{name}: expected OWNER/NAME, the repository of a model on the Hugging Face Hub")
        return cls(found["repository"], found["revision"] or cls.revision)

    @property
    def name(self) -> str:
        """What `--checkpoint` finds the model by: `hf:OWNER/NAME`, with the revision if it is not the default."""
        return f"{HUB}{self.repository}{f'@{self.revision}' * (self.revision != type(self).revision)}"

    @staticmethod
    def caches(path: Path) -> bool:
        """Whether a path lies in the cache of the Hub on this machine."""
        from huggingface_hub import constants

        return path.is_relative_to(constants.HF_HUB_CACHE)

    def cached(self, command: str = "") -> Path:
        """Returns the path of a model that was fetched; nothing is downloaded, so a model does not change in silence.

        Args:
            command: that fetches it, for the message; by default `fer pull` with the model's name.

        Raises:
            FileNotFoundError: it was not fetched.
        """
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repository, MODEL, revision=self.revision)
        if not isinstance(found, str):
            raise FileNotFoundError(
                f"{self.name} is not on this machine; `{command or f'fer pull {self.name}'}` fetches it"
            )
        return Path(found)
