import math

from optimizing import near, with_gradient

from lecture4.byhand import optim


def test_the_first_step_of_adam_is_the_sign():
    """m̂ = (1 − β₁) g / (1 − β₁) = g,  v̂ = g²:  w ← w − η g / (|g| + ε) → w − η sign(g)."""
    w = with_gradient([1.0, 1.0, 1.0], [1e-6, -5.0, 1e6])
    optim.Adam([w], lr=0.25, eps=0.0).step()
    assert w.tolist() == near([0.75, 1.25, 0.75])


def test_two_steps_of_adam():
    """w = 0,  η = 1,  β₁ = 0.5,  β₂ = 0.75,  ε = 1,  g = 2, then −2.

    step 1:  m = 0.5 · 2 = 1,            m̂ = 1 / (1 − 0.5) = 2
             v = 0.25 · 4 = 1,           v̂ = 1 / (1 − 0.75) = 4
             w = −2 / (√4 + 1) = −2/3
    step 2:  m = 0.5 · 1 − 0.5 · 2 = −1/2,     m̂ = −1/2 / (1 − 0.25) = −2/3
             v = 0.75 · 1 + 0.25 · 4 = 7/4,    v̂ = 7/4 / (1 − 9/16) = 4
             w = −2/3 + 2/3 / (√4 + 1) = −4/9
    """
    w = with_gradient(0.0, 2.0)
    optimizer = optim.Adam([w], lr=1.0, betas=(0.5, 0.75), eps=1.0)
    optimizer.step()
    assert w.item() == near(-2 / 3)
    w.grad.neg_()
    optimizer.step()
    assert w.item() == near(-4 / 9)
    assert optimizer.state[w]["exp_avg"].item() == near(-1 / 2)
    assert optimizer.state[w]["exp_avg_sq"].item() == near(7 / 4)


def test_amsgrad_divides_by_the_largest_mean_square():
    """η = 1,  β₁ = 0,  β₂ = 0.5,  ε = 0,  g = 4, then 1.

    step 1:  v = 8,                      v̂ = 8 / 0.5 = 16,      w = −4/4 = −1
    step 2:  v = 4 + 0.5 = 4.5 < 8,      v̂ = 8 / 0.75 = 32/3,   w = −1 − 1/√(32/3)
    """
    w = with_gradient(0.0, 4.0)
    optimizer = optim.Adam([w], lr=1.0, betas=(0.0, 0.5), eps=0.0, amsgrad=True)
    optimizer.step()
    assert w.item() == near(-1.0)
    w.grad.fill_(1.0)
    optimizer.step()
    assert w.item() == near(-1 - 1 / math.sqrt(32 / 3))
    assert optimizer.state[w]["exp_avg_sq"].item() == near(4.5)
    assert optimizer.state[w]["max_exp_avg_sq"].item() == near(8.0)


def test_decoupled_decay_does_not_enter_the_means():
    """w = 2,  η = 0.1,  λ = 0.5,  g = 3,  ε = 0:  w ← 2 − 0.1 · 0.5 · 2 − 0.1 · 1 = 1.8."""
    for kind, options in ((optim.AdamW, {}), (optim.Adam, {"decoupled_weight_decay": True})):
        w = with_gradient(2.0, 3.0)
        optimizer = kind([w], lr=0.1, eps=0.0, weight_decay=0.5, **options)
        optimizer.step()
        assert w.item() == near(1.8)
        assert optimizer.state[w]["exp_avg"].item() == near(0.3)
