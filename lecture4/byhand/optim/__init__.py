"""Optimizers: random search, following the slope with and without momentum, Adam.

``SGD``, ``Adam`` and ``AdamW`` have the constructors and the state of their namesakes in
``torch.optim``, so that a checkpoint of one goes on in the other; only the update is written out
here. The searches need no gradient, and torch has none of them.
"""

from lecture4.byhand.optim.adam import Adam, AdamW
from lecture4.byhand.optim.descent import SGD
from lecture4.byhand.optim.search import RandomLocalSearch, RandomSearch

__all__ = ["SGD", "Adam", "AdamW", "RandomLocalSearch", "RandomSearch"]
