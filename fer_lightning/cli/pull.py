"""`fer pull`: fetches a model from the Hugging Face Hub, and lists those that are known by name."""

import re

from fer_lightning.cli.parsing import CommandParser, with_choices
from fer_lightning.experiments.misspelt import suggestion
from fer_lightning.zoo.entries import ZooModel, zoo
from fer_lightning.zoo.hub import HubModel


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer pull",
        description="Fetches a model from the Hugging Face Hub into its cache on this machine, and checks it; "
        "`--checkpoint hf:OWNER/NAME` then finds it, without a network.",
    )
    repository = parser.add_argument(
        "repository",
        nargs="?",
        metavar="REPO",
        help="OWNER/NAME, with @REVISION for another branch, tag or commit; or a model's name, see --list",
    )
    with_choices(repository, lambda: [*zoo()])
    parser.add_argument("--sha256", default="", metavar="HEX", help="the file's checksum (default: as its card says)")
    parser.add_argument("--list", action="store_true", help="list the models that --checkpoint finds by name")
    return parser


def main(arguments: list[str]) -> None:
    """Runs `fer pull REPO`, which fetches a model, or `fer pull --list`.

    Raises:
        FileNotFoundError: there is no such model, or no connection.
        ValueError: the name or the checksum is none, the file has another checksum, or the Hub refuses access.
    """
    options = make_parser().parse(arguments[1:])
    if options.list == bool(options.repository):
        raise ValueError("expected either a model, `fer pull OWNER/NAME`, or `fer pull --list`")
    if not re.fullmatch("([0-9a-f]{64})?", options.sha256):
        raise ValueError(f"--sha256 {options.sha256}: expected 64 hexadecimal digits in small letters")
    models = zoo()
    if options.list:
        print("\n\n".join(map(described, models.values())))
        return
    entry = models.get(options.repository)
    if entry is None and "/" not in options.repository:
        known = suggestion([options.repository], models)
        raise ValueError(
            f"no model {options.repository}{known}; expected OWNER/NAME, a repository of the Hugging Face Hub, or a "
            "name of `fer pull --list`"
        )
    if entry is not None and entry.on_hub is None:
        print(f"{entry.name} comes with the suite: {entry.path()}")
        return
    _fetch(options.repository, entry, options.sha256)


def described(model: ZooModel) -> str:
    """Returns what the list says of a model."""
    origin = "comes with the suite" if model.on_hub is None else f"from {model.file}: fer pull {model.name}"
    facts = (
        ("results", model.results),
        ("data", f"licence {model.licence}"),
        ("card", model.card_location),
        ("SHA-256", model.sha256),
    )
    return "\n".join([f"{model.name} ({origin})", *(f"  {name:<8} {text}" for name, text in facts)])


def _fetch(name: str, entry: ZooModel | None, sha256: str) -> None:
    """Fetches a model and says where it is."""
    from fer_lightning.zoo.transfer import pull

    model = HubModel.parse(name if entry is None else entry.file)
    pulled = pull(model, sha256 or (entry.sha256 if entry else ""))
    print(f"model: {pulled.path} ({pulled.path.stat().st_size / 1e6:.1f} MB)\ncard:  {pulled.card}")
    if not pulled.checked:
        print("Its card states no checksum, so nothing tells whether this is the file that its owner meant (--sha256).")
    print(f"Use it: --checkpoint {model.name if entry is None else entry.name}")
