"""A part of a data set, so that several machines can prepare it at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_modules.manifest import VideoRecord


@dataclass(frozen=True)
class Shard:
    """A part of a data set: of every `of` clips one, beginning with the `number`-th."""

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"shard {self.number}/{self.of}: expected i/n with 1 <= i <= n, such as 1/4 to 4/4")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From `i/n`.

        Raises:
            ValueError: it is no such thing.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise ValueError(f"shard {text!r}: expected i/n with 1 <= i <= n, such as 1/4")
        return cls(int(number), int(of))

    @property
    def name(self) -> str:
        """Such as `2-of-8`; empty for the whole."""
        return "" if self.of == 1 else f"{self.number}-of-{self.of}"

    def of_records(self, records: Sequence[VideoRecord]) -> list[VideoRecord]:
        """Its clips."""
        return list(records[self.number - 1 :: self.of])


WHOLE = Shard()
