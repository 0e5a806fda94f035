"""Muon: the polar factor against the singular value decomposition, the steps against torch's."""

import pytest
import torch
from optimizing import assert_near, network, train, weights
from torch import nn

from lecture4.byhand.optim import Muon
from lecture4.byhand.optim.muon import polar_factor

SHAPES = [(3, 7), (7, 3), (5, 5), (1, 4)]
A, B, C = 3.4445, -4.7750, 2.0315


def phi(s: torch.Tensor, steps: int) -> torch.Tensor:
    for _ in range(steps):
        s = A * s + B * s**3 + C * s**5
    return s


def by_svd(g: torch.Tensor, steps: int) -> torch.Tensor:
    """U φ(…φ(S/‖G‖)) Vᵀ."""
    u, s, vt = torch.linalg.svd(g, full_matrices=False)
    return u @ torch.diag(phi(s / s.norm(), steps)) @ vt


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_only_the_singular_values_change(shape, steps):
    g = 100 * drawn(*shape)
    assert_near([polar_factor(g, steps)], [by_svd(g, steps)], 1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_near_the_polar_factor(shape):
    """The directions are those of U Vᵀ: Uᵀ X V is diagonal and positive."""
    g = drawn(*shape)
    u, _, vt = torch.linalg.svd(g, full_matrices=False)
    values = u.T @ polar_factor(g) @ vt.T
    diagonal = values.diagonal()
    assert diagonal.min() >= 0.68
    assert diagonal.max() <= 1.21
    assert (values - torch.diag(diagonal)).abs().max() < 1e-10


@pytest.mark.parametrize(("steps", "smallest"), [(3, 0.018), (5, 0.0016)])
def test_singular_values_above_a_bound_come_near_one(steps, smallest):
    s = torch.logspace(0, 1, 200, base=smallest, dtype=torch.float64)
    pairs = [torch.diag(torch.stack([a, (1 - a * a).clamp(min=0).sqrt()])) for a in s]  # norm 1
    reached = torch.stack([polar_factor(pair, steps)[0, 0] for pair in pairs])
    assert 0.68 <= reached.min() < reached.max() <= 1.21
    below = torch.diag(torch.tensor([smallest / 1.5, 1.0], dtype=torch.float64))
    assert polar_factor(below, steps)[0, 0] < 0.68


def test_no_gradient_no_step():
    assert not polar_factor(torch.zeros(2, 3)).any()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_of_matrices_are_those_of_torch(nesterov, weight_decay):
    """As far as bfloat16 goes, in which torch's always iterates."""
    starts = [drawn(*shape).float() for shape in SHAPES]
    settings = {"lr": 0.05, "momentum": 0.9, "nesterov": nesterov, "weight_decay": weight_decay}
    paths = []
    for make in (
        lambda p: Muon(p, dtype="bfloat16", **settings),
        lambda p: torch.optim.Muon(p, **settings),
    ):
        parameters = [nn.Parameter(start.clone()) for start in starts]
        optimizer = make(parameters)
        for step in range(20):
            for p in parameters:
                p.grad = p.detach() + drawn(*p.shape, seed=step + 1).float()
            optimizer.step()
        paths.append([p.detach() for p in parameters])
    for ours, theirs, start in zip(*paths, starts, strict=True):
        assert (ours - theirs).norm() <= 0.02 * (theirs - start).norm()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_net_takes_the_steps_of_the_formulas(nesterov, normalize):
    """Filters along U φ(S) Vᵀ; the head, biases and norms with torch's SGD."""
    settings = {"lr": 0.02, "momentum": 0.8, "nesterov": nesterov, "weight_decay": 0.1}
    model, twin = network(), network()
    groups = [
        {"params": [p for p in model.parameters() if p is not model.scores.weight]},
        {"params": [model.scores.weight], "lr": 0.01, "orthogonalize": False},
    ]
    train(
        model, Muon(groups, normalize=normalize, ns_steps=3, sgd_momentum=0.7, **settings), last=20
    )

    filters = [p for p in twin.parameters() if p.ndim == 4]
    others = [p for p in twin.parameters() if p.ndim == 1]
    sgd = torch.optim.SGD(
        [{"params": others}, {"params": [twin.scores.weight], "lr": 0.01}],
        **settings | {"momentum": 0.7},
    )
    v = [torch.zeros_like(w) for w in filters]

    class ByFormula:
        @torch.no_grad()
        def step(self):
            sgd.step()
            for i, w in enumerate(filters):
                v[i] = 0.8 * v[i] + w.grad
                d = (w.grad + 0.8 * v[i] if nesterov else v[i]).reshape(len(w), -1)
                scale = max(1, d.shape[0] / d.shape[1]) ** 0.5
                shrunk = w * len(w) ** 0.5 / w.norm() if normalize else w - 0.02 * 0.1 * w
                w.copy_(shrunk - 0.02 * scale * by_svd(d, 3).reshape(w.shape))

    train(twin, ByFormula(), last=20)
    assert_near(weights(model), weights(twin), 1e-8)
    assert all(
        not torch.equal(a, b) for a, b in zip(weights(model), weights(network()), strict=True)
    )


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 2, 1, 1)])
def test_a_step_of_a_normalized_w_turns_it_by_its_rate(shape):
    """‖W‖ = √O, and ‖step‖ = η √O as far as singular values are 1."""
    w = nn.Parameter(drawn(*shape))
    w.grad = drawn(*shape, seed=1)
    start = w.detach() * shape[0] ** 0.5 / w.detach().norm()
    Muon([w], lr=0.1, normalize=True).step()
    assert 0.68 <= (w.detach() - start).norm().item() / (0.1 * shape[0] ** 0.5) <= 1.21


def test_the_iteration_runs_in_the_dtype_asked_for():
    steps = {}
    for dtype in ("auto", "float32", "bfloat16"):
        w = nn.Parameter(torch.zeros(4, 6))
        w.grad = drawn(4, 6).float()
        Muon([w], lr=1.0, dtype=dtype).step()
        steps[dtype] = w.detach()
    assert torch.equal(steps["auto"], steps["float32"])
    assert torch.equal(steps["bfloat16"], steps["bfloat16"].bfloat16())
    assert 0 < (steps["bfloat16"] - steps["float32"]).abs().max() < 0.1


@pytest.mark.parametrize(
    "settings", [{"lr": -1.0}, {"ns_steps": 0}, {"sgd_momentum": -1.0}, {"dtype": "float16"}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Muon([nn.Parameter(torch.zeros(2, 2))], **settings)
