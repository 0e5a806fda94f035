"""``make schema``: write JSON schemas of the files in conf/, for editors.

Types come from the defaults, descriptions from the comments; see ``lecture4.support.conf``.
.vscode/settings.json assigns the schemas to files.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lecture4.support.conf import CONF, Choice, Key, choices, groups
from lecture4.support.files import write_atomically
from lecture4.training.settings import ACCEPTED, type_of

FOLDER = CONF / "schema"
NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
RUN = "run"  # schema of files that may set any key: a model, an experiment, a sweep
INTERPOLATION = r"^\$\{"
# Hydra's keys in every mapping, and at the top of a file.
HYDRAS = {"_target_": {"type": "string"}, "_partial_": {"type": "boolean"}}
TOP = {"defaults": {"type": "array"}, "hydra": {"type": "object"}}


def schemas() -> dict[str, dict[str, Any]]:
    """The schema of each name; see ``name_of``."""
    meanings = {group.name: group.meaning for group in groups()} | {RUN: "any settings of a run"}
    keys: dict[str, list[Key]] = {RUN: []}
    prefixes: dict[str, str] = {}
    for choice in choices():
        name = name_of(choice)
        meanings.setdefault(name, choice.meaning)
        prefixes[name] = f"{choice.package}." if choice.package else ""
        keys.setdefault(name, []).extend(choice.keys if name != RUN else ())
        if choice.name != "lecture" and choice.group != "hydra/sweeper":
            keys[RUN].extend(choice.keys)
    return {name: _schema(meanings[name], keys[name], prefixes[name]) for name in keys}


def name_of(choice: Choice) -> str:
    """The name of a file's schema: its group, or the file's name if it has none."""
    if choice.group and not choice.package:
        return RUN
    return choice.package.replace(".", "_") or choice.name


def write(folder: Path = FOLDER) -> None:
    """Write every schema as ``folder/NAME.json``."""
    folder.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        text = json.dumps(schema, indent=1, ensure_ascii=False)
        write_atomically(folder / f"{name}.json", text + "\n")


def _schema(description: str, keys: Iterable[Key], prefix: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in dict.fromkeys(key.path for key in keys):
        same = [key for key in keys if key.path == path]
        node = tree
        *parents, name = path.removeprefix(prefix).split(".")
        for parent in parents:
            node = node.setdefault(parent, _mapping({}))["properties"]
        node[name] = _property(path, same)
    top = {"$schema": "http://json-schema.org/draft-07/schema#", "description": description}
    return {**top, **_mapping({**TOP, **tree})}


def _property(path: str, same: list[Key]) -> dict[str, Any]:
    """The schema of a key, from its defaults in all files."""
    found = {type_of(key.default) for key in same}
    meaning = "; ".join(dict.fromkeys(key.meaning for key in same if key.meaning))
    described = {"description": meaning} if meaning else {}
    if dict in found:
        return {**described, **_mapping({})}
    if not found <= NAMES.keys():  # null, or a reference to another key
        return described
    types = sorted(NAMES[kind] for kind in found - ({int} if float in found else set()))
    if path in ACCEPTED and ACCEPTED[path][0](None):
        types.append("null")
    if "string" not in types:
        return {**described, "type": [*types, "string"], "pattern": INTERPOLATION}
    return {**described, "type": types}


def _mapping(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**HYDRAS, **properties},
        "additionalProperties": False,
    }


if __name__ == "__main__":
    write()
