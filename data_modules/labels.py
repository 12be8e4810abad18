"""Emotion names, the only form in which an emotion is stored.

Every data set numbers the emotions differently. Indices exist only within a class list: a tuple of names in
alphabetical order, which every checkpoint contains.
"""

from collections.abc import Iterable

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
