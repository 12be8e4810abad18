import pytest


@pytest.fixture(autouse=True)
def trusted_test_models(monkeypatch):
    """Checkpoints may name the models that these tests define."""
    monkeypatch.setenv("FER_TRUSTED_MODULES", "tests")
