"""`fer experiments`: what there is to train."""

from fer_lightning.experiments.request import ExperimentRequest, experiment_names


def main(arguments: list[str]) -> None:
    """`fer experiments`: a line for each."""
    for name in experiment_names():
        request = ExperimentRequest(name)
        info = request.content().get("experiment") or {}
        print(f"  {name:<24} {info.get('summary', '')} (size {request.default_size})")
