"""The templates, scripts and styles of this folder, which a page holds as text."""

import json
from pathlib import Path
from typing import Any

import jinja2

HERE = Path(__file__).parent


def environment() -> jinja2.Environment:
    """Where the templates are found; values are escaped, and a missing one is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def texts(*names: str) -> str:
    """The text of files, one after the other."""
    return "".join((HERE / name).read_text() for name in names)


def script_safe(value: Any) -> str:
    """JSON that is safe inside a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
