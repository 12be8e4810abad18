"""Renders the templates of self-contained pages."""

from pathlib import Path

import jinja2


def render(template: Path, **values: object) -> str:
    """Renders a template as HTML; all texts are escaped, and a value that is not given is an error.

    Args:
        template: path of the template.
        values: what it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values)
