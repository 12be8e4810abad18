"""Parts of a data set, so that several machines can prepare it in parallel."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_modules.manifest import VideoRecord


@dataclass(frozen=True)
class Shard:
    """A part of a data set: every `of`-th clip, beginning with clip `number`."""

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"shard {self.number}/{self.of}: expected i/n with 1 <= i <= n, such as 1/4 to 4/4")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Parses a shard written as `i/n`.

        Raises:
            ValueError: the text has another form, or i is not between 1 and n.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise ValueError(f"shard {text!r}: expected i/n with 1 <= i <= n, such as 1/4")
        return cls(int(number), int(of))

    @property
    def name(self) -> str:
        """The name, such as `2-of-8`; empty for the whole data set."""
        return "" if self.of == 1 else f"{self.number}-of-{self.of}"

    def select(self, records: Sequence[VideoRecord]) -> list[VideoRecord]:
        """Returns the clips of this part."""
        return list(records[self.number - 1 :: self.of])


WHOLE = Shard()
