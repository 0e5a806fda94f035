"""Whose formulas a run computes with: torch's, ``byhand``'s, or those of a file."""

from lecture4.training.formulas.from_file import Source, read
from lecture4.training.formulas.layers import find, formulas_of, located_in, unused, whose
from lecture4.training.formulas.named import BYHAND, FILE, FORMULAS, TORCH, Formulas, Penalty
from lecture4.training.formulas.styles import Entry

__all__ = [
    "BYHAND",
    "FILE",
    "FORMULAS",
    "TORCH",
    "Entry",
    "Formulas",
    "Penalty",
    "Source",
    "find",
    "formulas_of",
    "located_in",
    "read",
    "unused",
    "whose",
]
