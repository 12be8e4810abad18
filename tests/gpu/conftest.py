import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The GPU, or the processor where there is none or `fer bench gpu --device cpu` asks for it."""
    return torch.device(os.environ.get("FER_TEST_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))


@pytest.fixture(autouse=True)
def exact():
    """fp32 is fp32, also in convolutions, whose results are compared with the processor's."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before
