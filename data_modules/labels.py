"""Emotion names, the only form in which an emotion is stored.

Every data set numbers the emotions differently. Indices exist only within a class list: a tuple of names in
alphabetical order, which every checkpoint contains.
"""

from collections.abc import Iterable, Mapping, Sequence

ANGER, CONTEMPT, DISGUST, FEAR = "anger", "contempt", "disgust", "fear"
HAPPINESS, NEUTRAL, SADNESS, SURPRISE = "happiness", "neutral", "sadness", "surprise"

SEVEN = (ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SURPRISE)
"""The classes of AFEW, DFEW, FERV39k, FER2013, RAF-DB and the synthetic data set."""

SPELLINGS = {
    "angry": ANGER,
    "disgusted": DISGUST,
    "afraid": FEAR,
    "fearful": FEAR,
    "happy": HAPPINESS,
    "joy": HAPPINESS,
    "calm": "calm",
    "sad": SADNESS,
    "surprised": SURPRISE,
}


def emotion_name(spelling: str) -> str:
    """Return the suite's name for an emotion as a data set spells it, such as `anger` for `Angry`."""
    word = spelling.strip().lower()
    return SPELLINGS.get(word, word)


def class_list(names: Iterable[str]) -> tuple[str, ...]:
    """Return the unique names in alphabetical order."""
    return tuple(sorted(set(names)))


def format_votes(votes: Mapping[str, int]) -> str:
    """Write the number of annotators that chose each emotion, such as `anger=3 neutral=7`; those of 0 are left out."""
    return " ".join(f"{emotion}={number}" for emotion, number in sorted(votes.items()) if number)


def parse_votes(text: str) -> dict[str, int]:
    """Read what `format_votes` has written.

    Raises:
        ValueError: the text has another form, or an emotion occurs twice.
    """
    votes: dict[str, int] = {}
    for part in text.split():
        emotion, separator, number = part.partition("=")
        if not (emotion and separator and number.isascii() and number.isdecimal()) or emotion in votes:
            raise ValueError(
                f"found the votes {text!r}; expected emotions and whole numbers, such as anger=3 neutral=7"
            )
        votes[emotion] = int(number)
    return votes


def vote_shares(votes: str, class_names: Sequence[str]) -> list[float] | None:
    """Return the share of each class among the votes for these classes; None if there are no such votes."""
    counts = parse_votes(votes)
    total = sum(counts.get(name, 0) for name in class_names)
    return [counts.get(name, 0) / total for name in class_names] if total else None
