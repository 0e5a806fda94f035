"""Say where a misspelt or misplaced key belongs."""

import difflib
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lecture4.support.conf import CONF

LECTURE = "python lecture.py"


def unknown_key(key: str) -> str:
    """Say where a key belongs that is not among the chosen ones, or which was meant."""
    known = known_keys()
    if parts := [k for k in known if k.startswith(f"{key}.") and LECTURE in known[k]]:
        return f"{key} is set by its parts: {', '.join(parts)}"
    if key in known:
        owners = " or ".join(dict.fromkeys(known[key]))
        return f"{key} does not go with these choices; it belongs to {owners}"
    last = key.rpartition(".")[2]
    near = [k for k in known if k.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(key, known, 1, cutoff=0.5)
    hint = (
        f"did you mean {near[0]}?"
        if near
        else f"python {Path(sys.argv[0]).name} --cfg job shows them all"
    )
    return f"{key} is no setting here; {hint}"


def known_keys() -> dict[str, list[str]]:
    """Every group, and every key of every file in conf/, with the choices that have it."""
    keys: dict[str, list[str]] = {}

    def walk(node: Any, prefix: str, choice: str) -> None:
        for name, child in node.items() if isinstance(node, dict) else ():
            if name != "defaults":
                keys.setdefault(prefix + name, []).append(choice)
                walk(child, f"{prefix}{name}.", choice)

    for file in sorted(CONF.rglob("*.yaml")):
        group = file.parent.relative_to(CONF).parts
        for name in group[:1]:
            keys.setdefault(name, [])
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        if file.name == "lecture.yaml":
            walk(content, "", LECTURE)
        elif file.name == "loading.yaml":
            walk(content, "data.", "data")
        elif not group or group[0] in ("recipe", "experiment"):
            walk(content, "", "python train.py")
        else:
            walk(content, f"{group[0]}.", f"{group[0]}={file.stem}")
    return keys
