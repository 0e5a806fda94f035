"""Random search: W and a candidate are scored alike, and W alone leaves a trace."""

from functools import partial

import torch
from torch import nn

from lecture4.byhand.optim import RandomLocalSearch
from lecture4.data.augment import NoAugment
from lecture4.data.preprocess import FullScale
from lecture4.training import formulas
from lecture4.training.schedule import constant
from lecture4.training.search import SearchClassifier


class Net(nn.Module):
    """Batch norm and dropout before the scores; notes what each forward pass gives."""

    settings = {}

    def __init__(self):
        super().__init__()
        self.norm, self.dropout, self.scores = nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)
        self.seen = []

    def forward(self, x):
        kept = self.dropout(self.norm(x))
        self.seen.append(kept)
        return self.scores(kept)


def searcher() -> SearchClassifier:
    torch.manual_seed(0)
    module = SearchClassifier(
        model=Net(),
        preprocess=FullScale((4,)),
        augment=NoAugment((4,)),
        class_names=["a", "b", "c"],
        optimizer=partial(RandomLocalSearch, lr=0.1),
        schedule=constant,
        formulas=formulas.find("torch"),
    )
    optimizer = module.optimizer(module.model.scores.parameters())
    schedule = constant(optimizer, 10)
    module.optimizers, module.lr_schedulers = lambda: optimizer, lambda: schedule
    return module


def batch(n: int = 8):
    return torch.randn(n, 4), torch.arange(n) % 3, torch.arange(n)


def test_w_and_the_candidate_see_the_same_units_dropped():
    module = searcher()
    module.training_step([batch()])
    first, second = module.model.seen
    assert torch.equal(first == 0, second == 0)
    assert 0 < (first == 0).sum() < first.numel()


def test_batch_norm_counts_each_batch_once():
    module = searcher()
    module.training_step([batch(), batch()])
    assert module.model.norm.num_batches_tracked == 2
    assert module.record.steps == 2


def test_the_objective_of_the_kept_weights_never_rises_on_the_same_batch():
    module, same = searcher(), batch()
    module.model.dropout.p = 0.0
    before = [p.clone() for p in module.model.scores.parameters()]
    module.training_step([same] * 30)
    assert module.record.losses == sorted(module.record.losses, reverse=True)
    assert module.record.losses[-1] < module.record.losses[0]
    assert not all(map(torch.equal, before, module.model.scores.parameters()))
