"""Optimizers: gradient descent with and without momentum, Adam, random search.

``SGD``, ``Adam`` and ``AdamW`` have the constructor and the state of their namesakes in
``torch.optim``, so that either can resume from a checkpoint of the other; only the update is
written by hand. The random searches need no gradient and have no twin in torch.
"""

from lecture4.byhand.optim.adam import Adam, AdamW
from lecture4.byhand.optim.descent import SGD
from lecture4.byhand.optim.search import RandomLocalSearch, RandomSearch

__all__ = ["SGD", "Adam", "AdamW", "RandomLocalSearch", "RandomSearch"]
