"""`fer experiments`: lists the systems and the data sets that experiments are made of."""

from fer_lightning.experiments.system import data_names, system_names, system_summary
from fer_lightning.tables.table import published_pairs


def main(arguments: list[str]) -> None:
    """Prints a line for each system, the data sets, and the pairs of which a paper publishes a result."""
    print("Systems; an experiment is a system on a data set (EXP=<system>_<data>):")
    for name in system_names():
        print(f"  {name:<24} {system_summary(name)}")
    print("\nPublished (a table's rows: fer tables):")
    for system, data in published_pairs().items():
        print(f"  {system:<24} {', '.join(data)}")
    print(f"\nData sets: {' '.join(data_names())}")
