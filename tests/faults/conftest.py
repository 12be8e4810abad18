from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.predict.test_predict import write_checkpoint


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """A run whose checkpoint takes whole frames for faces."""
    return write_checkpoint(tmp_path_factory.mktemp("trained") / "1-0", detector="crop")


@pytest.fixture(scope="package", autouse=True)
def without_wandb() -> Iterator[None]:
    """Turns W&B off: a process that is forked and killed shares its service, and both wait for ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        yield
