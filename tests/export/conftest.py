"""A trained run, and the file that `fer export` makes of it."""

import pytest

from fer_lightning.cli.main import main
from fer_lightning.paths import runs_root
from tests.fakes import write_fer2013

TINY = (
    *("--model.init_args.backbone.init_args.channels", "[8,8,16,16]"),
    *("--data.num_workers", "0"),
    *("--data.batch_size", "7"),
    *("--model.init_args.optimizer.init_args.lr", "0.01"),
    *("--trainer.max_epochs", "6"),  # a temperature needs 30 clips of the inner split, most of them right
    *("--trainer.precision", "32-true"),
    *("--trainer.accelerator", "cpu"),
)


@pytest.fixture(scope="package")
def exported(tmp_path_factory):
    """The folder of a run on FER2013's layout, and the model's file."""
    folder, patch = tmp_path_factory.mktemp("export"), pytest.MonkeyPatch()
    for name in ("DATA", "RUNS"):
        patch.setenv(f"FER_{name}", str(folder / name.lower()))
    write_fer2013(folder / "data", train=70, inner=35)
    try:
        assert main(["train", "stills_fer2013", "--size", "small", *TINY]) == 0
        assert main(["export", "stills_fer2013.small/1-0", str(folder / "faces.safetensors")]) == 0
        yield runs_root() / "stills_fer2013.small" / "1-0", folder / "faces.safetensors"
    finally:
        patch.undo()
