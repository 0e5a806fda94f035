"""The lecture's claims, a module each: quote, experiment, formulas, ``measure judge draw``."""

from lecture4.lesson.claims.registry import NAMES, Claim, claim

__all__ = ["NAMES", "Claim", "claim"]
