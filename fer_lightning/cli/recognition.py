"""The options of how expressions are recognised, which `fer predict` and `fer live` share."""

import argparse
from pathlib import Path
from typing import get_args

from fer_lightning.cli.parsing import CommandParser
from fer_lightning.predict.request import People, RecognitionOptions
from fer_lightning.zoo.lookup import find_model


def add_recognition_options(parser: CommandParser) -> None:
    """Adds the options of the model and of `RecognitionOptions`."""
    default, add = RecognitionOptions, parser.add_argument
    add(
        "--checkpoint",
        action="append",
        default=[],
        metavar="RUN",
        help="folder of a run or of an ensemble, its name below runs/, a checkpoint, or a model's name (`fer pull "
        "--list`); without it, the suite's own model, faces, trained on the still images of FER2013",
    )
    add(
        "--people",
        choices=get_args(People),
        default=default.people,
        help="whose expressions: of the main face, or of all who are seen for a second or longer (main)",
    )
    add("--detector", choices=("mtcnn", "insightface"), default=default.detector, help="finds the faces (mtcnn)")
    add("--window", type=float, help="seconds of video for each expression (2; for a model of single images, the hop)")
    add("--hop", type=float, default=default.hop, help="seconds from one row to the next (0.5)")
    add("--every", type=int, default=default.every, help="look for faces in every n-th frame (4)")
    add("--device", default=default.device, help="auto, cpu, cuda, cuda:1 or mps")
    add("--head-pose", action="store_true", help="measure yaw, pitch and roll even if the model needs no landmarks")
    add("--no-calibration", action="store_true", help="take the model's probabilities as they are")
    add(
        "--abstain",
        type=float,
        metavar="RISK",
        help="give no expression below the confidence at which more than this share would be wrong, such as 0.1",
    )


def chosen_model(options: argparse.Namespace) -> Path | None:
    """Returns the model that the options name; None for the suite's own.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: there are several.
    """
    if len(options.checkpoint) > 1:
        raise ValueError(
            f"--checkpoint is given {len(options.checkpoint)} times ({', '.join(options.checkpoint)}); expected one "
            "run. To combine several, make an ensemble of them with `fer ensemble`"
        )
    return find_model(options.checkpoint[0]) if options.checkpoint else None


def chosen_recognition(options: argparse.Namespace) -> RecognitionOptions:
    """Returns how expressions are recognised.

    Raises:
        ValueError: an option has an invalid value.
    """
    return RecognitionOptions(
        options.detector,
        options.window,
        options.hop,
        options.every,
        options.device,
        options.head_pose,
        not options.no_calibration,
        options.abstain,
        options.people,
    )
