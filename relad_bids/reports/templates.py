"""Pages of tables: their templates, in which all text is escaped, their style, their pictures."""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from relad_bids.reports import charts


@cache
def template(name: str) -> Template:
    """Load ``<name>.html.jinja``; the style of the pages stands in it as ``style``."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["style"] = Markup(_text("tables.css"))
    return environment.from_string(_text(f"{name}.html.jinja"))


def data_uri(picture: bytes) -> str:
    """Put a chart into the page itself."""
    return f"data:{charts.MIME};base64,{base64.b64encode(picture).decode('ascii')}"


def _text(name: str) -> str:
    return (files("relad_bids") / "reports" / name).read_text(encoding="utf-8")
