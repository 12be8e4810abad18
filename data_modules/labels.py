"""Emotion names: the only form in which an emotion is stored.

Each data set and each repository numbers the emotions in its own way; indices exist only inside a class list, which is
a tuple of names in alphabetical order and travels with every checkpoint.
"""

from collections.abc import Iterable

ANGER, CONTEMPT, DISGUST, FEAR = "anger", "contempt", "disgust", "fear"
HAPPINESS, NEUTRAL, SADNESS, SURPRISE = "happiness", "neutral", "sadness", "surprise"

SEVEN = (ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SURPRISE)
"""The classes of AFEW, DFEW, FERV39k, FER2013, RAF-DB and the synthetic set."""

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
    """The suite's name for an emotion as a data set spells it, such as `Angry` for `anger`."""
    word = spelling.strip().lower()
    return SPELLINGS.get(word, word)


def class_list(names: Iterable[str]) -> tuple[str, ...]:
    """Names as a class list: unique and in alphabetical order."""
    return tuple(sorted(set(names)))
