"""Suggest a key for a misspelt, misplaced or former one."""

import difflib
import sys
from pathlib import Path

from lecture4.support.conf import choices, groups
from lecture4.training.settings import NOT_SUPPORTED

FORMULAS = "formulas=torch or formulas=byhand chooses layers, loss, optimizer and penalty together"
# former settings and choices, and their replacements
FORMER = {
    "model.layers": FORMULAS,
    "trainer.limit_train_batches": NOT_SUPPORTED["limit_train_batches"],
    "optim=byhand_sgd": "use formulas=byhand optim=sgd",
    "optim=byhand_adam": "use formulas=byhand optim=adam",
    "optim=byhand_adamw": "use formulas=byhand optim=adamw",
}


def unknown_key(key: str) -> str:
    """An error for a key that is not in the configuration, with the nearest key or its choices."""
    if key in FORMER:
        return f"{key} is no longer a setting; {FORMER[key]}"
    program = "lecture.py" if Path(sys.argv[0]).name == "lecture.py" else "train.py"
    mine, owners = _keys(program), {**_keys("lecture.py"), **_keys("train.py")}
    if parts := [path for path in mine if path.startswith(f"{key}.")]:
        return f"{key} is set by its parts: {', '.join(parts)}"
    if key in owners:
        return f"{key} is not a setting of these choices; it belongs to {' or '.join(owners[key])}"
    last = key.rpartition(".")[2]
    meant = [
        path for path in mine if not path.startswith("recipe.")
    ]  # suggest optim.lr, not recipe.sgd.lr
    near = [path for path in meant if path.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(key, meant, 1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"python {program} --help lists them"
    return f"{key} is not a setting; {hint}"


def _keys(program: str) -> dict[str, list[str]]:
    """Every group and key of a program, with the choices that set it."""
    keys = {group.name: [] for group in groups() if program == "train.py"}
    for choice in choices():
        of_lecture = choice.group == "" and choice.name == "lecture"
        if of_lecture == (program == "lecture.py"):
            owner = f"{choice.group}={choice.name}" if choice.group else f"python {program}"
            for key in choice.keys:
                keys.setdefault(key.path, []).append(owner)
    return keys
