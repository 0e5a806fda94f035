"""From the report (``claims.json``) to one self-contained HTML file."""

import html
import inspect
import json
import math
import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from latex2mathml.converter import convert
from plotly.offline import get_plotlyjs
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from lecture4.lesson.claims import claim
from lecture4.lesson.lab import COLOURS, Gallery, Item, Plot, Table, Widget, tally
from lecture4.lesson.lab.measurements import from_plain
from lecture4.lesson.page.look_inside import parts
from lecture4.lesson.page.templates import HERE, environment, script_safe, texts

ROOT = Path(__file__).resolve().parents[3]
STYLES = "style.css", "playground/playground.css", "inside/inside.css"
PLAYGROUND = "points", "net", "picture", "tools", "controls"  # each uses those before it


def render_page(
    report: dict[str, Any], page: Path | None = None, net: dict[str, Any] | None = None
) -> str:
    """The lecture's page as text.

    Args:
        report: what ``lecture4.lesson.report.measure`` returned.
        page: file that the page is written to; if it is in the checkout, sources are linked.
        net: a result of ``describe`` to look inside, in the section of the claim ``learned``.
    """
    pages = environment()
    pages.filters["amount"] = amount
    sections = [_section(entry, page) for entry in report["claims"]]
    return pages.get_template("page.html").render(
        report=report,
        sections=sections,
        counts=tally([entry["verdict"] for entry in report["claims"]]),
        data=script_safe(
            {"colours": COLOURS, "figures": [f for s in sections for f in s["drawn"]]}
        ),
        colours=COLOURS,
        style=texts(*STYLES),
        theme=texts("theme.js"),
        playground=[texts(f"playground/{name}.js") for name in PLAYGROUND],
        **parts(net),
        plotly=get_plotlyjs(),
        scripts=[texts("page.js"), texts("share.js")]
        + [file.read_text() for file in sorted((HERE / "widgets").glob("*.js"))],
    )


def _section(entry: dict[str, Any], page: Path | None) -> dict[str, Any]:
    """What the template shows of one claim."""
    shown = claim(entry["name"])
    drawn = shown.draw(from_plain(shown.measure, entry["measurements"]))
    items = [_item(item, f"{entry['name']}-{i}") for i, item in enumerate(drawn)]
    return {
        **entry,
        "quote": [quoted(line) for line in shown.QUOTE],
        "text": shown.TEXT,
        "formulas": [convert(tex, display="block") for tex in shown.FORMULAS],
        "code": [_source(thing, page) for thing in shown.CODE],
        "commands": _together(entry["commands"]),
        "items": items,
        "drawn": [item["drawn"] for item in items if "drawn" in item],
    }


def _item(item: Item, name: str) -> dict[str, Any]:
    """Kind and content of one item; what JavaScript draws is in ``drawn``."""
    shown = {"kind": type(item).__name__.lower(), "id": name, "item": item}
    if isinstance(item, Plot):
        content = _rounded(json.loads(item.figure.to_json()))
        shown["drawn"] = {"id": name, "data": content["data"], "layout": content["layout"]}
        shown["height"] = item.figure.layout.height or 380
    elif isinstance(item, Widget):
        shown["drawn"] = {"id": name, "widget": item.name, "data": _rounded(dict(item.data))}
    elif not isinstance(item, Table | Gallery):
        raise TypeError(f"{item!r} is no Plot, Table, Gallery or Widget")
    return shown


def quoted(line: str) -> str:
    """A line of the lecture as HTML: formulas between ``$$`` typeset, Markdown's bullet as a dot.

    The lecture writes e^sk for e^{s_k}; TeX would raise the s alone.
    """
    words = html.escape(html.unescape(line).strip(), quote=False).split("$$")
    for i, tex in enumerate(words[1::2]):
        tex = re.sub(r"e\^s(y_i|[a-z])", r"e^{s_{\1}}", html.unescape(tex))
        words[2 * i + 1] = convert(tex)
    return re.sub(r"^\* ", "• ", "".join(words))


def _source(thing: Any, page: Path | None) -> dict[str, str | None]:
    """Name, file and line of a function or class, and its source as highlighted HTML."""
    lines, line = inspect.getsourcelines(thing)
    file = Path(inspect.getsourcefile(inspect.unwrap(thing))).resolve()
    return {
        "name": thing.__qualname__,
        "place": f"{file.relative_to(ROOT).as_posix()}:{line}",
        "href": address(file, page),
        "source": highlight(
            textwrap.dedent("".join(lines)), PythonLexer(), HtmlFormatter(nowrap=True)
        ),
    }


def address(file: Path, page: Path | None) -> str | None:
    """Relative address of a source file, None if the page is not in the same checkout."""
    folder = page and page.resolve().parent
    if folder is None or not folder.is_relative_to(ROOT):
        return None
    return quote(Path(os.path.relpath(file, folder)).as_posix())


def _together(commands: Sequence[str]) -> list[str]:
    """Merge commands that differ only in the seed into one sweep over the seeds."""
    seeds: dict[str, list[str]] = {}
    for command in commands:
        words, _, seed = command.rpartition(" seed=")
        seeds.setdefault(words, []).append(seed)
    return [
        f"{words.replace('train.py', 'train.py -m', 1) if len(s) > 1 else words} seed={','.join(s)}"
        for words, s in seeds.items()
    ]


def amount(value: Any, unit: str = "") -> str:
    """A number with four significant digits, and an exponent only where it is needed."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or value == 0:
        text = f"{int(value):,}"
    elif 1e-3 <= abs(value) < 1e5:
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{min(digits, 4)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:.2e}"
    return (text + (f" {unit}" if unit else "")).replace("-", "−")


def _rounded(value: Any) -> Any:
    """Floats to six significant digits: more are invisible, and would be half of the file."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value
