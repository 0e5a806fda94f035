"""The lecture's claims, a file each: measure, judge, then draw; the ``CLAIM`` stands at its end."""

from lecture4.lesson.claims.registry import NAMES, claim

__all__ = ["NAMES", "claim"]
