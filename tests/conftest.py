import functools
import os
import sys
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import cv2
import pytest
import torch

os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # else Lightning sets more with DDP, after which forks hang
torch.set_num_threads(1)  # two test processes share two cores
cv2.setNumThreads(1)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Data, store, runs and results of every test are its own."""
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("FER_STORE", raising=False)


@pytest.fixture(autouse=True)
def parsed_once():
    """Parses each configuration once in a process, and sets the folder of its run, which every test has of its own.

    Parsing takes a third of the tests otherwise.
    """
    module = sys.modules.get("fer_lightning.experiments.lightning_cli")  # many tests do without it
    if module is None or hasattr(module.FerCLI.parse_arguments, "__wrapped__"):
        return
    parse, parsed, option = module.FerCLI.parse_arguments, {}, "--trainer.default_root_dir"

    @functools.wraps(parse)
    def parse_once(cli, parser, args):
        if args is None or option not in args:
            return parse(cli, parser, args)
        place = args.index(option) + 1
        files = tuple(Path(each).read_bytes() for each in args if each.endswith(".yaml") and Path(each).is_file())
        key = (*args[:place], *args[place + 1 :], files, Path.cwd())
        if key in parsed:
            cli.config = deepcopy(parsed[key])
            cli.config.trainer.default_root_dir = args[place]
            return None
        parse(cli, parser, args)
        if cli.config.get("trainer.default_root_dir") == args[place]:  # else it is a subcommand's, or another one
            parsed[key] = deepcopy(cli.config)
        return None

    module.FerCLI.parse_arguments = parse_once


@pytest.fixture
def offline_wandb(tmp_path, monkeypatch):
    """W&B writes files and sends nothing; all that it keeps lies in the test's folder."""
    import wandb  # most tests do without it
    from wandb.sdk.lib.module import unset_globals

    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb" / name))
    wandb.teardown()  # the process of an earlier training would be used again, and so would a run that it left
    unset_globals()
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    yield
    with suppress(Exception):  # some tests kill its process
        wandb.finish()
    unset_globals()
