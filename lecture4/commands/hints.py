"""Say where a misspelt, misplaced or former key belongs."""

import difflib
import sys
from pathlib import Path

from lecture4.support.conf import choices, groups

FORMULAS = "formulas=torch or formulas=byhand chooses layers, loss, optimizer and penalty together"
# What was once a setting or a choice, and what does the same today.
FORMER = {
    "model.layers": FORMULAS,
    "trainer.limit_train_batches": "use data.train_share, the fraction of the batches in an epoch",
    "optim=byhand_sgd": "use formulas=byhand optim=sgd",
    "optim=byhand_adam": "use formulas=byhand optim=adam",
    "optim=byhand_adamw": "use formulas=byhand optim=adamw",
}


def unknown_key(key: str) -> str:
    """Say where a key belongs that the chosen files do not have, or which one was meant."""
    if key in FORMER:
        return f"{key} is no longer a setting; {FORMER[key]}"
    program = "lecture.py" if Path(sys.argv[0]).name == "lecture.py" else "train.py"
    mine, owners = _keys(program), {**_keys("lecture.py"), **_keys("train.py")}
    if parts := [path for path in mine if path.startswith(f"{key}.")]:
        return f"{key} is set by its parts: {', '.join(parts)}"
    if key in owners:
        return f"{key} does not go with these choices; it belongs to {' or '.join(owners[key])}"
    last = key.rpartition(".")[2]
    meant = [path for path in mine if not path.startswith("recipe.")]  # optim.lr, not its default
    near = [path for path in meant if path.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(key, meant, 1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"python {program} --help lists them"
    return f"{key} is no setting here; {hint}"


def _keys(program: str) -> dict[str, list[str]]:
    """Every group and key of a program, with the choices that have it."""
    keys = {group.name: [] for group in groups() if program == "train.py"}
    for choice in choices():
        of_lecture = choice.group == "" and choice.name == "lecture"
        if of_lecture == (program == "lecture.py"):
            owner = f"{choice.group}={choice.name}" if choice.group else f"python {program}"
            for key in choice.keys:
                keys.setdefault(key.path, []).append(owner)
    return keys
