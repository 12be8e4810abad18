"""`fer experiments`: lists the systems and the data sets that experiments are made of."""

from fer_lightning.experiments.system import data_names, system_names, system_summary


def main(arguments: list[str]) -> None:
    """Prints a line for each system, its name and its summary, and the names of the data sets."""
    for name in system_names():
        print(f"  {name:<24} {system_summary(name)}")
    print(f"\nData sets: {' '.join(data_names())}")
