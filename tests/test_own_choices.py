"""What a paper does not say is marked in one way, which CONTRIBUTING names."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TAG = "[our choice]"
OTHER_WORDS = re.compile(r"our choices?|\[ours\b|#.*\bours\b|not stated in (the|any) paper", re.IGNORECASE)


def files() -> list[Path]:
    folders = (("data_modules", "py"), ("fer_lightning", "py"), ("experiments", "yaml"))
    return sorted(path for folder, ending in folders for path in (ROOT / folder).rglob(f"*.{ending}"))


def test_every_choice_of_our_own_carries_the_one_tag():
    texts = {path: path.read_text() for path in files()}
    assert sum(TAG in text for text in texts.values()) > 60  # files
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if OTHER_WORDS.search(line.replace(TAG, ""))
    ]
    assert not found
    assert TAG in (ROOT / "CONTRIBUTING.md").read_text()
