"""FER+ (Barsoum et al., ICMI 2016, https://arxiv.org/abs/1608.01041): ten annotators' votes for each FER2013 image."""

import csv
from collections.abc import Iterator
from pathlib import Path

from data_modules.datasets.stills import row_error
from data_modules.labels import (
    ANGER,
    CONTEMPT,
    DISGUST,
    FEAR,
    HAPPINESS,
    NEUTRAL,
    SADNESS,
    SURPRISE,
    format_votes,
    parse_votes,
)

TABLE = "fer2013new.csv"
EMOTIONS = (NEUTRAL, HAPPINESS, SURPRISE, SADNESS, ANGER, DISGUST, FEAR, CONTEMPT)
OTHERS = ("unknown", "NF")  # no opinion, and not a face
COLUMNS = ("Usage", "Image name", *EMOTIONS, *OTHERS)
MAJORITY = 5  # votes; there are ten annotators


def read_votes(table: Path) -> Iterator[tuple[str, str]]:
    """Yields the usage and the votes of each image, in the order of FER2013's table; the votes are as in a manifest.

    Raises:
        ValueError: a row is invalid; the message names file and line.
    """
    expected = f"{','.join(COLUMNS)} with whole numbers of votes"
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        row: list[str] = []
        try:
            if tuple(row := next(rows, [])) != COLUMNS:
                raise ValueError
            for row in rows:
                usage, _, *numbers = row
                votes = {name: int(number) for name, number in zip(COLUMNS[2:], numbers, strict=True)}
                if min(votes.values()) < 0:
                    raise ValueError
                yield usage, format_votes(votes)
        except (ValueError, csv.Error) as error:
            raise row_error(table, rows.line_num, row, expected) from error


def majority(votes: str) -> str:
    """Returns the emotion with at least five of the ten votes and more than any other.

    Returns:
        The emotion, `unknown` or `NF`; `no majority` where there is none. FER+'s authors ask for more than half of the
        votes; a tie of five and five is no majority here either.
    """
    ranked = sorted(parse_votes(votes).items(), key=lambda pair: -pair[1])
    if not ranked or ranked[0][1] < MAJORITY or (len(ranked) > 1 and ranked[1][1] == ranked[0][1]):
        return "no majority"
    return ranked[0][0]
