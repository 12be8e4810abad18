"""Loading leaves torch's own random numbers alone, which dropout draws from, however many workers there are."""

import pytest
import torch

from tests.small_runs import made_data


@pytest.mark.parametrize("watch_test", [False, True])
def test_the_number_of_workers_does_not_change_what_the_model_draws(watch_test):
    def drawn(workers):
        data = made_data(batch_size=4, num_workers=workers, watch_test=watch_test)
        torch.manual_seed(7)
        loaders = [data.train_dataloader(), data.val_dataloader()]
        loaders = [each for loader in loaders for each in (loader if isinstance(loader, list) else [loader])]
        values = []
        for _ in range(3):
            for loader in loaders:
                list(loader)
            values.append(torch.rand(1).item())
        return values

    torch.manual_seed(7)
    expected = [torch.rand(1).item() for _ in range(3)]
    assert drawn(0) == expected
    assert drawn(1) == expected
