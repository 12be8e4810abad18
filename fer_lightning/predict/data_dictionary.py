"""What the columns of the tables mean, for `fer predict --help` and the data dictionary beside the tables."""

import textwrap

FOLDER = "folder"
COLUMNS: tuple[tuple[str, str, str], ...] = (
    (FOLDER, "text", "folder of the video's results; only in the table of all videos, where it tells videos apart"),
    ("video", "text", "name of the file"),
    (
        "person",
        "whole number",
        "number of the person; 1 is the main face of the video, further ones are those of --people all; empty for "
        "sound alone",
    ),
    ("time", "seconds", "middle of the row, counted from the first picture"),
    ("start", "seconds", "start of the row"),
    ("end", "seconds", "end of the row, where the next one starts"),
    (
        "expression",
        "text",
        "the most probable class; or `no face`, `no audio`, `no face or audio`; or `another person`, who is seen while "
        "this one is not; or `unsure` with `--abstain`",
    ),
    ("confidence", "0 to 1", "probability of the most probable class; empty without a face or audio"),
    ("p_CLASS", "0 to 1", "probability of each class; they sum to 1; empty without a face or audio"),
    (
        "face_share",
        "0 to 1",
        "share of the row's frames in which the face is seen; models of faces need 0.5; empty for sound alone",
    ),
    ("audio", "0 or 1", "whether there is audio in the row's window"),
    (
        "cut",
        "0 or 1",
        "whether a shot changes within the row's window: the expression may be judged from both sides of the cut",
    ),
    (
        "yaw",
        "degrees",
        "mean over the window; positive if the nose points to the right of the picture; empty if unknown",
    ),
    ("pitch", "degrees", "likewise; positive if the nose points down"),
    ("roll", "degrees", "likewise; positive if the head leans clockwise"),
    ("reason", "text", "why the row has no expression; empty if it has one"),
    ("world", "text", "what the model was trained on: `rendered` or `real`, `faces` or `voices`; or `unknown`"),
)
"""Each column: its name, its unit, and what it means."""

FUSION = (
    "the mean of the probabilities of all windows that contain the frame, each weighted by 1 at its middle, falling "
    "linearly to 0 at its ends; windows without an expression are left out, and where all weigh 0, the window of the "
    "row that contains the frame counts alone"
)
"""How overlapping windows become the value of a frame, see `frames.fused`."""
FRAME_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("frame", "whole number", "number of the frame, counted from 0"),
    ("time", "seconds", "when it is shown, as the file says, counted from the first picture"),
    (
        "expression",
        "text",
        "as above; or `too few faces around`: the face is seen, but every window around has it in less than half of "
        "its row's frames",
    ),
    ("confidence, p_CLASS", "0 to 1", f"{FUSION}; the probability of the class, and the highest of them"),
    ("left, top, right, bottom", "pixels", "the face's box in the picture; empty where it is not seen"),
    ("cut", "0 or 1", "whether a shot begins with this frame: those before it show something else"),
    ("yaw, pitch, roll", "degrees", "of this frame; signs as above; empty if unknown"),
)
"""What differs in the table of frames."""

INTRODUCTION = """# Columns of the tables

Tables are UTF-8 with commas and a header. There is a row for each person and each `--hop` seconds (0.5), judged on the
`--window` seconds around it: 2, so that neighbouring rows share most of what they have seen and are not independent
observations; models of single images judge each row by the frame in its middle alone. With `--people all`, somebody who
leaves and is seen again has a new number unless it is sure who it is; the main face is `another person` then.
Cells are empty where there is no value. A text that a spreadsheet would take for a formula begins with an apostrophe.

What the model was trained on, how good it is, and what nobody has checked is in `expressions.json` under
`model_label`, and at the top of each page.

"""

FRAMES = """
## Frames
`--rows frames` also writes `frames.csv`, with a row for each person and frame. Its columns `video`, `person`, `reason`
and `world` are those above. Neighbouring rows have nearly everything in common: for statistics, take windows.

"""


def columns_for_help(width: int = 120, indent: int = 14) -> str:
    """Returns a paragraph for each column of the table of one video, for a terminal."""
    lines = []
    for name, unit, meaning in COLUMNS:
        if name != FOLDER:
            text = textwrap.wrap(f"{meaning} ({unit})", width - indent)
            lines += [f"  {name:<{indent - 2}}{text[0]}", *(" " * indent + line for line in text[1:])]
    return "\n".join(lines)
