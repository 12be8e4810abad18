"""`fer export`: a trained model in one file to take away, with its card."""

from pathlib import Path

from data_modules.utils.files import atomic_write
from fer_lightning.cli.parsing import CommandParser
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.lookup import find_run


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer export",
        description="Writes the model of a finished run to one file that `fer predict --checkpoint` reads, and a card "
        "that says what it was trained on, how good it is and what it cannot do. An ONNX file is compared with the "
        "model before it is kept, and models of which a part has no equal in ONNX are refused.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run, or its name below runs/")
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="the file to write, .safetensors, .pt for PyTorch, or .onnx for onnxruntime",
    )
    parser.add_argument(
        "--full", action="store_true", help="store all weights with 32 bits (16 for most; ONNX: always 32)"
    )
    return parser


def main(arguments: list[str]) -> None:
    """Runs `fer export RUN FILE`: writes the model's file, and its card as `.md` beside it.

    Raises:
        FileNotFoundError: there is no such run, or it is not finished.
        ValueError: the run is an ensemble, or the file has another suffix, or the model has no equal in ONNX.
    """
    options = make_parser().parse(arguments[1:])
    if options.file.suffix not in (".safetensors", ".pt", ".onnx"):
        raise ValueError(f"found {options.file}; expected the name of a file that ends in .safetensors, .pt or .onnx")
    run = RunFolder(find_run(options.run))
    run.read_info()  # refuses a run that is not finished before anything is written

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.export.card import model_card
    from fer_lightning.export.model_file import write_model_file
    from fer_lightning.export.onnx_file import write_onnx_file

    if options.file.suffix == ".onnx":
        any_number = write_onnx_file(run.path, options.file)
        print(f"compared with the model on noise; it takes {'any number of' if any_number else 'only as many'} frames")
    else:
        write_model_file(run.path, options.file, half=not options.full)
    card = options.file.with_suffix(".md")
    atomic_write(card, model_card(run, options.file).encode())
    print(f"model: {options.file} ({options.file.stat().st_size / 1e6:.1f} MB)\ncard:  {card}")
