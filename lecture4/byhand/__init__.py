"""The lecture's formulas, forward and backward derived by hand; imports torch alone.

``from lecture4.byhand import functional as F, nn, optim`` reads as with torch.
"""
