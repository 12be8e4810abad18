"""`fer bench`: speeds, each as a ratio to an alternative that is measured in the same run."""

import argparse
from importlib import import_module
from pathlib import Path

from fer_lightning.cli.parsing import CommandParser
from fer_lightning.experiments.system import system_file

BENCHES = {
    "render": ("fer_lightning.bench.render", "frames of the synthetic set per second"),
    "decode": ("fer_lightning.bench.decode", "reading videos for faces, with PyAV and with torchcodec"),
    "store": ("fer_lightning.bench.store", "forms of the face store: random reads and size"),
    "manifest": ("fer_lightning.bench.manifest", "opening a data set as large as DFEW"),
    "audio": ("fer_lightning.bench.audio", "computing spectrograms and descriptors, and a loader's step with audio"),
    "loader": ("fer_lightning.bench.loader", "share of a training step spent waiting for data"),
    "step": ("fer_lightning.bench.step", "CEFLNet's training step against frame-by-frame fp32; with SYSTEM, its own"),
    "fusion": ("fer_lightning.bench.fusion", "fusing scores against VSHNN's forward pass"),
    "ecnn": ("fer_lightning.bench.ecnn", "ECNN-FSA's time for a frame against CNN-LSTM's, and its attention's share"),
    "features": ("fer_lightning.bench.features", "VSHNN's epoch on cached features against computing them"),
    "faces": ("fer_lightning.bench.faces", "face detection: every n-th frame and tracking against every frame"),
    "memory": ("fer_lightning.bench.memory", "peak memory of face extraction, short and long video"),
    "scaling": (
        "fer_lightning.bench.scaling",
        "training on 1, 2, 4 and 8 processes, and whether they predict the same",
    ),
    "predict": ("fer_lightning.bench.predict", "prediction against the length of the video"),
    "live": ("fer_lightning.bench.live", "pictures a second and delay of the live page's server"),
}
ON_GPU = {
    "gpu": "the checks of a machine with a GPU, each within its time, into one file: `make check-gpu`",
    "pack-gpu": "packs what these checks need into a folder to take there: `make pack-gpu`",
}
MODELS = {"models": "step, inference and memory of all systems or of SYSTEM ..., into results/model_costs.json"}
APART = ON_GPU | MODELS
"""What `fer bench all` leaves out."""
PARTS = ("steps", "tests", "ceflnet", "variants", "loader", "predict", "fer2013")
"""The parts of `fer bench gpu`, in their order."""


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    texts = {name: text for name, (_, text) in BENCHES.items()} | APART
    epilog = "\n".join(f"  {name:<8} {text}" for name, text in texts.items())
    parser = CommandParser(
        "fer bench", description=__doc__, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", choices=[*BENCHES, "all", *APART])
    parser.add_argument(
        "systems", nargs="*", metavar="SYSTEM", help="step, models: the systems that are measured, or `all`"
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats: shows that it runs, not how fast")
    parser.add_argument(
        "--device", default="auto", help="step SYSTEM, models, gpu: cpu or cuda (default: a GPU if there is one)"
    )
    parser.add_argument(
        "--size", choices=("small", "paper"), default="paper", help="step SYSTEM, models, gpu: (default: the paper's)"
    )
    parser.add_argument("--small", dest="size", action="store_const", const="small", help="the same as --size small")
    parser.add_argument(
        "--batch",
        type=int,
        metavar="B",
        help="step SYSTEM, models: clips (default: the experiment's; of models on a processor: 2)",
    )
    parser.add_argument(
        "--again", action="store_true", help="models: measure anew what was measured on this device and these versions"
    )
    parser.add_argument(
        "--variants",
        action="store_true",
        help="step SYSTEM: also in fp32 and bf16, not channels last, with a fused optimiser, with torch.compile",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="gpu: these alone (default: all)")
    parser.add_argument(
        "--seconds", type=float, default=570.0, help="gpu: the time of all parts together (default: 570)"
    )
    parser.add_argument(
        "--out", type=Path, help="gpu, scaling: the file (gpu: results/gpu_checks.json); pack-gpu: the folder"
    )
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)  # the process of one part writes its rows there
    return parser


def main(arguments: list[str]) -> int | None:
    """Runs one benchmark or all of them.

    Raises:
        FileNotFoundError: there is no such system.
        ValueError: systems are named for a benchmark that measures none, or the pack is too large.
    """
    options = make_parser().parse(arguments[1:])
    if options.systems and options.benchmark not in ("step", "models"):
        raise ValueError(
            f"{options.benchmark} measures no single systems; expected `fer bench step SYSTEM ...`, or `models`"
        )
    for system in options.systems:
        if system != "all":
            system_file(system)
    small = options.size == "small"
    if options.benchmark in ON_GPU:
        return _on_gpu(options)
    if options.benchmark in MODELS:
        from fer_lightning.bench.models import run_models

        run_models(options.systems, options.size, options.device, options.batch, options.again, options.quick)
        return None
    if options.systems:
        from fer_lightning.bench.step import run_systems

        run_systems(options.systems, small, options.device, options.variants, options.batch, options.quick)
        return None
    for name, (module, text) in BENCHES.items():
        if options.benchmark in (name, "all"):
            print(f"\n{name}: {text}")
            out = {"out": options.out} if name == "scaling" and options.out else {}
            import_module(module).run(quick=options.quick, **out)
    return None


def _on_gpu(options: argparse.Namespace) -> int:
    """Runs or packs the checks of a GPU and returns the exit status."""
    if options.benchmark == "pack-gpu":
        from fer_lightning.bench.gpu_pack import pack

        pack(options.out or Path("gpu_pack"))
        return 0
    if options.rows:
        from fer_lightning.bench.gpu_parts import write_rows

        write_rows(options.parts[0], options.device, options.size == "small", options.rows)
        return 0
    from fer_lightning.bench.gpu_checks import run

    return run(options.parts, options.device, options.size == "small", options.seconds, options.out)
