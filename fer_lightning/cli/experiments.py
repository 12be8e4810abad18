"""`fer experiments`: lists the systems and the data sets that experiments are made of."""

from fnmatch import fnmatch

from fer_lightning.cli.parsing import CommandParser
from fer_lightning.experiments.misspelt import suggestion
from fer_lightning.experiments.system import data_names, system_names, system_summary
from fer_lightning.tables.table import published_pairs


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer experiments",
        description="List the systems and the data sets that experiments are made of, and the published pairs.",
    )
    parser.add_argument(
        "pattern", nargs="?", default="", help="only names that contain this, such as ceflnet or 'vshnn_*r*'"
    )
    return parser


def main(arguments: list[str]) -> None:
    """Prints a line for each system, the data sets, and the pairs of which a paper publishes a result.

    Raises:
        ValueError: nothing has such a name; the message suggests a similar one.
    """
    pattern = make_parser().parse(arguments[1:]).pattern

    def is_meant(name: str) -> bool:
        return fnmatch(name, f"*{pattern}*")

    systems, data = list(filter(is_meant, system_names())), list(filter(is_meant, data_names()))
    published = [
        (system, ", ".join(sets if is_meant(system) else filter(is_meant, sets)))
        for system, sets in published_pairs().items()
    ]
    if not systems and not data:
        similar = suggestion([pattern], [*system_names(), *data_names()])
        raise ValueError(f"no system and no data set has {pattern!r} in its name{similar}")
    if systems:
        print("Systems; an experiment is a system on a data set (EXP=<system>_<data>):")
        print("\n".join(f"  {name:<24} {system_summary(name)}" for name in systems), end="\n\n")
    if any(sets for _, sets in published):
        print("Published (a table's rows: fer tables):")
        print("\n".join(f"  {system:<24} {sets}" for system, sets in published if sets), end="\n\n")
    if data:
        print(f"Data sets: {' '.join(data)}")
