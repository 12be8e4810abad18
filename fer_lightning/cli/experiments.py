"""`fer experiments`: lists the experiments."""

from fer_lightning.experiments.request import ExperimentRequest, experiment_names


def main(arguments: list[str]) -> None:
    """Prints a line for each experiment: its name, its summary and its size."""
    for name in experiment_names():
        request = ExperimentRequest(name)
        info = request.content().get("experiment") or {}
        print(f"  {name:<24} {info.get('summary', '')} (size {request.default_size})")
