"""The lecture's formulas, forward and backward derived by hand; imports torch alone.

Mirrors torch: ``from lecture4.byhand import functional as F, nn, optim``.
"""
