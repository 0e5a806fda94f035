"""Read the groups, choices and keys of conf/ with their comments, for ``--help`` and the schemas.

The comment of a group is on its line in the defaults list of train.yaml, of a choice on the first
line of its file (after ``# @package``), of a key on its line.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).parents[2] / "conf"
GLOBAL = "# @package _global_"
NO_SETTINGS = ("defaults", "hydra")  # Hydra's keys at the top of a file


@dataclass(frozen=True)
class Key:
    """A key in a file."""

    path: str  # as typed, such as optim.lr
    default: Any  # its value, with unresolved interpolations
    meaning: str  # its comment, or ""


@dataclass(frozen=True)
class Choice:
    """A file of conf/."""

    group: str  # its directory; "" for a file in conf/ itself
    name: str  # such as sgd
    package: str  # prefix of its keys, such as optim; "" for none
    meaning: str  # its comment, or ""
    keys: tuple[Key, ...]  # except names that start with _, and of experiments
    includes: tuple[str, ...]  # files whose keys it includes
    chooses: dict[str, str]  # its choices in other groups


@dataclass(frozen=True)
class Group:
    """A group in the defaults list of train.yaml, with its default choice."""

    name: str
    default: str | None
    meaning: str


@cache
def choices() -> tuple[Choice, ...]:
    """Every file in conf/."""
    return tuple(_read(file) for file in sorted(CONF.rglob("*.yaml")))


@cache
def groups() -> tuple[Group, ...]:
    """The groups of train.yaml, in the order of its defaults list."""
    text = (CONF / "train.yaml").read_text()
    defaults = next(v for k, v in yaml.compose(text, _Loader).value if k.value == "defaults")
    found = []
    for entry in defaults.value:
        if isinstance(entry, yaml.MappingNode) and " " not in entry.value[0][0].value:
            name, default = entry.value[0]
            chosen = None if default.value == "null" else default.value
            found.append(Group(name.value, chosen, _comment(text, name, default)))
    return tuple(found)


def _read(file: Path) -> Choice:
    text = file.read_text()
    lines = text.splitlines()
    group = file.parent.relative_to(CONF).as_posix().strip(".")
    is_global = GLOBAL in lines[:1]
    # every file of data/ includes loading.yaml
    package = "data" if file.name == "loading.yaml" else "" if is_global else group
    package = package.replace("/", ".")
    found: list[Key] = []

    def walk(node: yaml.Node, values: dict, prefix: str) -> None:
        for key, child in node.value:
            if key.value.startswith("_") or (node is root and key.value in NO_SETTINGS):
                continue
            path = prefix + key.value
            found.append(Key(path, values[key.value], _comment(text, key, child)))
            if isinstance(child, yaml.MappingNode):
                walk(child, values[key.value], f"{path}.")

    root, values = yaml.compose(text, _Loader), yaml.load(text, _Loader) or {}
    if values and group != "experiment":  # which sets keys of other files; a file may be empty
        walk(root, values, f"{package}." if package else "")
    included, chosen = [], {}
    for entry in values.get("defaults", []):
        if isinstance(entry, str):  # grid, or /loading@_here_
            included.append(entry.strip("/").partition("@")[0])
        else:
            ((name, choice),) = entry.items()
            if match := re.match(r"override /(\w+)(@|$)", name):
                chosen[match[1]] = choice
    title = next(iter(lines[is_global:]), "")
    meaning = title.removeprefix("# ") if title.startswith("# ") else ""
    return Choice(group, file.stem, package, meaning, tuple(found), tuple(included), chosen)


def _comment(text: str, key: yaml.Node, value: yaml.Node) -> str:
    """The comment on a key's line."""
    inline = value.end_mark.line == key.start_mark.line
    column = (value if inline else key).end_mark.column
    return text.splitlines()[key.start_mark.line][column:].partition("# ")[2].strip()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads 1e-3 as a number, as Hydra does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)
