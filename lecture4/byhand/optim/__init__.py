"""Optimizers: gradient descent with momentum, Adam, Muon, random search; means of weights.

``SGD``, ``Adam`` and ``AdamW`` have the constructor and the state of their namesakes in
``torch.optim``, so that either can resume from a checkpoint of the other; only the update is
written by hand. ``Muon`` takes parameters of every shape, torch's takes matrices alone. The random
searches need no gradient and have no twin in torch.
"""

from lecture4.byhand.optim.adam import Adam, AdamW
from lecture4.byhand.optim.averaging import EMA, Lookahead, NoAverage
from lecture4.byhand.optim.descent import SGD
from lecture4.byhand.optim.muon import Muon
from lecture4.byhand.optim.search import RandomLocalSearch, RandomSearch

__all__ = [
    "EMA",
    "SGD",
    "Adam",
    "AdamW",
    "Lookahead",
    "Muon",
    "NoAverage",
    "RandomLocalSearch",
    "RandomSearch",
]
