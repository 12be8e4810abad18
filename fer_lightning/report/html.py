"""Renders the templates of self-contained pages."""

import json
import re
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

SHARED = Path(__file__).parent / "templates"


def render(template: Path, **values: object) -> str:
    """Renders a template as HTML; all texts are escaped, and a value that is not given is an error.

    Args:
        template: path of the template, which may include what is in its folder and in the folder of the reports'.
        values: what it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["with_code"] = with_code
    return environment.get_template(template.name).render(**values)


def with_code(text: str) -> Markup:
    """Returns a text as HTML, escaped, in which what stands between backticks is code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def script_json(content: object) -> str:
    """Returns a value as JSON that may stand inside a script element, whatever texts it has."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
