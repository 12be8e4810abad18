"""Finds the run that a user names."""

import difflib
from pathlib import Path

from fer_lightning.paths import runs_root


def find_run(name: str | Path) -> Path:
    """Returns the path of a run, a folder of runs or a checkpoint, as it is named or below the folder of all runs.

    Raises:
        FileNotFoundError: neither exists; the message suggests runs with similar names.
    """
    path, root = Path(name), runs_root()
    candidates = list(dict.fromkeys((path, root / path)))
    for candidate in candidates:
        if candidate.exists():
            return candidate
    existing = sorted(folder.name for folder in root.glob("*") if folder.is_dir())
    similar = difflib.get_close_matches(path.parts[0], existing, n=3)
    if similar:
        hint = f"did you mean {' or '.join(similar)}?"
    elif existing:
        hint = f"{root} holds {', '.join(existing[:12])}"
    else:
        hint = f"{root} holds no runs; train one with `fer train`"
    raise FileNotFoundError(f"no run or checkpoint {name}: looked for {' and '.join(map(str, candidates))}; {hint}")
