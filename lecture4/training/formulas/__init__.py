"""Whose formulas a run computes with: torch's, ``byhand``'s, or those of a file."""

from lecture4.training.formulas.from_file import Source, read
from lecture4.training.formulas.named import BYHAND, FORMULAS, TORCH, Formulas, Penalty, find
from lecture4.training.formulas.styles import Entry

__all__ = ["BYHAND", "FORMULAS", "TORCH", "Entry", "Formulas", "Penalty", "Source", "find", "read"]
