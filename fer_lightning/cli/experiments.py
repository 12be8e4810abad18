"""`fer experiments`: lists the systems and the data sets that experiments are made of."""

from fer_lightning.cli.parsing import CommandParser
from fer_lightning.experiments.system import data_names, system_names, system_summary
from fer_lightning.tables.table import published_pairs


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    return CommandParser(
        "fer experiments",
        description="List the systems and the data sets that experiments are made of, and the published pairs.",
    )


def main(arguments: list[str]) -> None:
    """Prints a line for each system, the data sets, and the pairs of which a paper publishes a result."""
    make_parser().parse(arguments[1:])
    print("Systems; an experiment is a system on a data set (EXP=<system>_<data>):")
    for name in system_names():
        print(f"  {name:<24} {system_summary(name)}")
    print("\nPublished (a table's rows: fer tables):")
    for system, data in published_pairs().items():
        print(f"  {system:<24} {', '.join(data)}")
    print(f"\nData sets: {' '.join(data_names())}")
