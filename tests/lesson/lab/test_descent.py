import math

import torch
from torch import nn

from lecture4.lesson.lab import descend


def batches(n=3):
    torch.manual_seed(0)
    return [(torch.randn(8, 4), torch.randint(3, (8,))) for _ in range(n)]


def test_steps_are_those_of_a_loop_written_out():
    model, twin = nn.Linear(4, 3), nn.Linear(4, 3)
    twin.load_state_dict(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    losses = list(descend(model, batches(), optimizer, nn.functional.cross_entropy, schedule))
    for i, (x, y) in enumerate(batches()):
        loss = nn.functional.cross_entropy(twin(x), y)
        assert losses[i] == loss.item()
        for w, g in zip(
            twin.parameters(), torch.autograd.grad(loss, twin.parameters()), strict=True
        ):
            w.data -= 0.1 * 0.5**i * g
    torch.testing.assert_close(model.state_dict(), twin.state_dict())


def test_a_loss_is_known_before_its_step():
    model = nn.Linear(4, 3)
    before = model.weight.detach().clone()
    steps = descend(model, batches(), torch.optim.SGD(model.parameters(), lr=0.1))
    next(steps)
    assert torch.equal(model.weight, before)
    next(steps)
    assert not torch.equal(model.weight, before)


def test_it_ends_before_a_step_that_is_not_finite():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e38)
    losses = list(descend(model, batches(5), optimizer))
    assert 0 < len(losses) < 5
    assert all(map(math.isfinite, losses))
