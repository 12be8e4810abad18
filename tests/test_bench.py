"""That the benchmarks run; how fast anything is, no test says."""

import pytest

from fer_lightning.bench.command import BENCHES, main


@pytest.mark.parametrize("name", ["render", "store", "manifest", "step"])
def test_a_benchmark_prints_its_figures(name, capsys):
    main(["bench", name, "--quick"])
    assert BENCHES[name][1] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["loader", "predict"])
def test_a_slow_benchmark_prints_its_figures(name, capsys):
    main(["bench", name, "--quick"])
    said = capsys.readouterr().out
    assert "waiting for data" in said if name == "loader" else "x real time" in said
