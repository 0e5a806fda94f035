"""``--help``: each group, choice and key with its comment in conf/."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from lecture4.lesson.claims import NAMES
from lecture4.support.conf import Choice, Group, Key, choices, groups

FIRST = ("model", "data", "optim")  # printed first
TRAIN = """\
python train.py model=mlp optim.lr=0.01           choose a model, set a key
python train.py -m model=mlp,convnet seed=0,1,2   a sweep: every combination
python train.py resume=outputs/DAY/TIME           continue a run
python train.py --cfg job --resolve model=mlp     print the configuration
python train.py --hydra-help                      Hydra's own flags"""
LECTURE = """\
python lecture.py                                   every claim, small budget
python lecture.py claims=[rings,init] budget=full   two claims, full budget
python lecture.py --cfg job                         print the configuration
python lecture.py --hydra-help                      Hydra's own flags"""


def help_requested() -> bool:
    """Whether the command line has -h or --help."""
    return not {"-h", "--help"}.isdisjoint(sys.argv[1:])


def train_help() -> str:
    """The help of train.py."""
    chosen = _chosen()
    order = sorted(groups(), key=lambda g: FIRST.index(g.name) if g.name in FIRST else len(FIRST))
    train = _choice("", "train")
    return "\n".join(
        [
            f"{train.meaning}.\n",
            textwrap.indent(TRAIN, "  "),
            "\nGROUP: its choices (* is the default), then their keys",
            *(line for group in order for line in _group(group, chosen[group.name])),
            *_section("", "Keys outside groups"),
            *_rows([(key, "") for key in train.keys]),
        ]
    )


def lecture_help() -> str:
    """The help of lecture.py."""
    lecture = _choice("", "lecture")
    return "\n".join(
        [
            f"{lecture.meaning}.\n",
            textwrap.indent(LECTURE, "  "),
            *_section("", "Claims"),
            *_wrapped("  ", "  ", " ".join(NAMES)),
            *_section("", "Keys"),
            *_rows([(key, "") for key in lecture.keys]),
        ]
    )


def _group(group: Group, chosen: str | None) -> Iterator[str]:
    """A group: its choices, then their keys."""
    mine = [choice for choice in choices() if choice.group == group.name]
    yield from _section(group.name, group.meaning)
    width = max(len(choice.name) for choice in mine)
    for choice in mine:
        mark = "*" if choice.name == chosen else " "
        others = " ".join(f"{name}={value}" for name, value in choice.chooses.items())
        brings = f" [{others}]" if others else ""
        yield from _wrapped(f"  {mark} {choice.name:{width}}  ", "", choice.meaning + brings)
    rows = list(_keys(group, mine, chosen))
    if rows:
        yield ""
        yield from _rows(rows)


def _keys(group: Group, mine: list[Choice], chosen: str | None) -> Iterator[tuple[Key, str]]:
    """The keys of a group by meaning, each with its choices unless all have it."""
    having: dict[str, dict[str, dict[str, Key]]] = {}  # path, meaning, choice
    for choice in sorted(mine, key=lambda choice: choice.name != chosen):
        for file in (choice, *(_choice(group.name, name) for name in choice.includes)):
            for key in file.keys:
                if key.path.startswith(f"{group.name}.") and key.meaning:
                    meanings = having.setdefault(key.path, {})
                    meanings.setdefault(key.meaning, {}).setdefault(choice.name, key)
    for owners in (owners for meanings in having.values() for owners in meanings.values()):
        key = next(iter(owners.values()))
        yield key, "" if len(owners) == len(mine) else f" ({', '.join(owners)})"


def _chosen() -> dict[str, str | None]:
    """The choice of each group in ``python train.py`` without arguments."""
    chosen = {group.name: group.default for group in groups()}
    for name, default in list(chosen.items()):
        if default:
            chosen |= _choice(name, default).chooses
    return chosen


def _choice(group: str, name: str) -> Choice:
    found = {(c.group, c.name): c for c in choices()}
    return found.get((group, name)) or found["", name]


def _rows(keys: list[tuple[Key, str]]) -> Iterator[str]:
    """Keys and defaults on the left, meanings on the right."""
    names = [f"{key.path}{_value(key.default)}" for key, _ in keys]
    width = min(42, max(map(len, names)))
    for name, (key, owners) in zip(names, keys, strict=True):
        yield from _wrapped(f"    {name:{width}}  ", " " * (width + 6), key.meaning + owners)


def _value(default: Any) -> str:
    """``=default`` as typed; ``=…`` if long, empty for a mapping or an interpolation."""
    if isinstance(default, dict) or (isinstance(default, str) and "${" in default):
        return ""
    text = json.dumps(default).replace(" ", "") if not isinstance(default, str) else default
    return f"={text}" if len(text) <= 16 else "=…"


def _section(name: str, meaning: str) -> Iterator[str]:
    yield ""
    yield from _wrapped(f"{name}: " if name else "", "", meaning)


def _wrapped(first: str, later: str, text: str) -> list[str]:
    """Wrap ``text`` after ``first`` to the terminal's width, 80 to 120 columns."""
    width = min(max(shutil.get_terminal_size((100, 24)).columns, 80), 120)
    later = later or " " * len(first)
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=later) or [first]
