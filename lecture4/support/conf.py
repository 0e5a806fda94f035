"""The configuration in conf/: its groups, choices and keys, with the comments beside them.

The comments are what ``--help`` and the JSON schemas say, and they are read here:

- of a group, the comment beside it in the defaults list of train.yaml;
- of a choice, the first line of its file (after ``# @package``);
- of a key, the comment on its line.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).parents[2] / "conf"
GLOBAL = "# @package _global_"
NO_SETTINGS = ("defaults", "hydra")  # at the top of a file, these are for Hydra


@dataclass(frozen=True)
class Key:
    """A setting as it stands in one file.

    Attributes:
        path: as it is typed, such as ``optim.lr``.
        default: its value there, with interpolations as they are written.
        meaning: the comment on its line, or ``""``.
    """

    path: str
    default: Any
    meaning: str


@dataclass(frozen=True)
class Choice:
    """A file of conf/.

    Attributes:
        group: its directory; ``""`` for a file in conf/ itself.
        name: of the file, such as ``sgd``.
        package: where its keys stand in the configuration, such as ``optim``; ``""``: at the top.
        meaning: its first line, see above.
        keys: its settings, without those that start with ``_``.
        includes: names of the files whose keys it has, too.
        chooses: what it chooses in other groups.
    """

    group: str
    name: str
    package: str
    meaning: str
    keys: tuple[Key, ...]
    includes: tuple[str, ...]
    chooses: dict[str, str]


@dataclass(frozen=True)
class Group:
    """A group in the defaults list of train.yaml, with the choice made there."""

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
    is_global = lines[0] == GLOBAL
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

    root, values = yaml.compose(text, _Loader), yaml.load(text, _Loader)
    walk(root, values, f"{package}." if package else "")
    included, chosen = [], {}
    for entry in values.get("defaults", []):
        if isinstance(entry, str):  # grid, or /loading@_here_
            included.append(entry.strip("/").partition("@")[0])
        else:
            ((name, choice),) = entry.items()
            if match := re.match(r"override /(\w+)(@|$)", name):
                chosen[match[1]] = choice
    meaning = lines[is_global].removeprefix("# ")
    return Choice(group, file.stem, package, meaning, tuple(found), tuple(included), chosen)


def _comment(text: str, key: yaml.Node, value: yaml.Node) -> str:
    """The comment on the line of a key."""
    inline = value.end_mark.line == key.start_mark.line
    column = (value if inline else key).end_mark.column
    return text.splitlines()[key.start_mark.line][column:].partition("# ")[2].strip()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Reads numbers as Hydra does: 1e-3, too."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)
