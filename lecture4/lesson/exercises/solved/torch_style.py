"""The lecture's formulas on tensors; autograd differentiates them."""

import math

import torch


def linear(input, weight, bias=None):
    """s = x Wᵀ + b of x (N, D), W (K, D) and b (K,) or None: (N, K)."""
    scores = input @ weight.T
    return scores if bias is None else scores + bias


def softmax(input, dim=1):
    """p_k = exp(s_k) / Σⱼ exp(s_j) along ``dim``, also for scores of ±10⁴."""
    e = (input - input.amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)


def log_softmax(input, dim=1):
    """log p_k = s_k − log Σⱼ exp(s_j) along ``dim``, finite also where p rounds to 0."""
    shifted = input - input.amax(dim, keepdim=True)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


def entropy(p, base=math.e):
    """H(P) = −Σₖ pₖ log pₖ of p (..., K), in units of log ``base``: (...).  0 · log 0 = 0."""
    return cross_entropy_of(p, p, base)


def cross_entropy_of(p, q, base=math.e):
    """H(P, Q) = −Σₖ pₖ log qₖ of p and q (..., K), in units of log ``base``: (...)."""
    log_q = torch.where(p > 0, q, 1).log()
    return -(p * log_q).sum(-1) / math.log(base)


def kl_divergence(p, q, base=math.e):
    """D(P ‖ Q) = Σₖ pₖ log(pₖ/qₖ) of p and q (..., K), in units of log ``base``: (...)."""
    return cross_entropy_of(p, q, base) - cross_entropy_of(p, p, base)


def cross_entropy(input, target, reduction="mean", label_smoothing=0.0):
    """Lₙ = −Σₖ yₙₖ log pₙₖ, p = softmax(s), of scores s (N, K) and class indices (N,).

    y = (1 − α) one-hot + α/K with α = ``label_smoothing``.
    ``reduction``: "none" for Lₙ (N,), "sum" for Σₙ Lₙ, "mean" for Σₙ Lₙ / N.
    """
    log_p = log_softmax(input, 1)
    right = log_p[torch.arange(len(target)), target]  # (N,)
    losses = -(1 - label_smoothing) * right - label_smoothing * log_p.mean(1)
    return _reduced(losses, reduction)


def nll_loss(input, target, reduction="mean"):
    """Lₙ = −log pₙ of the class, of log-probabilities (N, K) and class indices (N,).

    ``reduction``: "none" for Lₙ (N,), "sum" for Σₙ Lₙ, "mean" for Σₙ Lₙ / N.
    """
    return _reduced(-input[torch.arange(len(target)), target], reduction)


def _reduced(losses, reduction):
    match reduction:
        case "mean":
            return losses.sum() / len(losses)
        case "sum":
            return losses.sum()
    return losses


def gradient(f, x, h=1e-5):
    """∂f/∂xᵢ ≈ (f(x + h eᵢ) − f(x − h eᵢ)) / 2h for each number of x, in the shape of x.

    ``f`` takes a tensor shaped as x and returns a number; x is not changed.
    """
    slopes = torch.zeros_like(x)
    for i in range(x.numel()):
        e = torch.zeros_like(x)
        e.view(-1)[i] = h
        slopes.view(-1)[i] = (f(x + e) - f(x - e)) / (2 * h)
    return slopes


def l1_penalty(weights):
    """R = Σ |w| over all numbers of a list of weights."""
    return sum(w.abs().sum() for w in weights)


def l2_penalty(weights):
    """R = Σ w² over all numbers of a list of weights."""
    return sum((w**2).sum() for w in weights)


def relu(input):
    """f(x) = max(0, x) of each number."""
    return input * (input > 0)


def leaky_relu(input, negative_slope=0.01):
    """f(x) = x where x > 0, else α x, with α = ``negative_slope``."""
    return torch.where(input > 0, input, negative_slope * input)


def sigmoid(input):
    """σ(x) = 1 / (1 + e⁻ˣ) of each number, also for ±10⁴."""
    return _Sigmoid.apply(input)


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = 1 / (1 + (-x).exp())  # 1/∞ = 0 for large −x
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return dy * y * (1 - y)


def tanh(input):
    """tanh(x) = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ) of each number, also for ±10⁴."""
    return 2 * sigmoid(2 * input) - 1


def gelu(input):
    """f(x) = x Φ(x) of each number, with Φ(x) = erfc(−x/√2) / 2."""
    return input * torch.erfc(-input / math.sqrt(2)) / 2


def silu(input):
    """f(x) = x σ(x) of each number."""
    return input * sigmoid(input)


def output_size(n, kernel_size, stride=1, padding=0):
    """⌊(N + 2P − F)/S⌋ + 1 positions of a window of F pixels along a side of N."""
    return (n + 2 * padding - kernel_size) // stride + 1


def conv2d(input, weight, bias=None, stride=1, padding=0):
    """z_noij = b_o + Σ_cae w_ocae x_nc,Si+a,Sj+e, with x padded by P zeros on each side.

    x (N, C, H, W), w (O, C, F_h, F_w), b (O,) or None: (N, O, H', W'), see ``output_size``.
    """
    windows = _windows(_padded(input, padding, 0), *weight.shape[2:], stride)
    z = torch.einsum("ncijae,ocae->noij", windows, weight)
    return z if bias is None else z + bias.view(-1, 1, 1)


def max_pool2d(input, kernel_size, stride=None, padding=0):
    """The largest number in each window of F×F pixels, S apart (F if None): (N, C, H', W').

    P pixels of −∞ lie around the border.
    """
    padded = _padded(input, padding, -math.inf)
    windows = _windows(padded, kernel_size, kernel_size, stride or kernel_size)
    return windows.flatten(4).max(-1).values


def avg_pool2d(input, kernel_size, stride=None, padding=0):
    """The mean of each window of F×F pixels, S apart (F if None): (N, C, H', W').

    P zeros lie around the border, and count in the mean.
    """
    padded = _padded(input, padding, 0)
    windows = _windows(padded, kernel_size, kernel_size, stride or kernel_size)
    return windows.mean((-2, -1))


def _padded(x, p, value):
    n, c, h, w = x.shape
    padded = x.new_full((n, c, h + 2 * p, w + 2 * p), value)
    padded[:, :, p : p + h, p : p + w] = x
    return padded


def _windows(x, height, width, stride):
    """(N, C, H, W) -> (N, C, H', W', F_h, F_w)."""
    return x.unfold(2, height, stride).unfold(3, width, stride)


def flatten(input, start_dim=0, end_dim=-1):
    """Stretch dimensions ``start_dim`` to ``end_dim`` into one: (N, C, H, W) -> (N, C·H·W)."""
    end = end_dim % input.ndim
    return input.reshape(*input.shape[:start_dim], -1, *input.shape[end + 1 :])


def xavier(weight, gain=1.0):
    """Draw weights (K, D) or (O, C, F_h, F_w) with Var[w] = gain² · 2 / (fan_in + fan_out)."""
    fan_in, fan_out = _fans(weight)
    return weight.normal_(0, gain * math.sqrt(2 / (fan_in + fan_out)))


def he(weight, gain=2**0.5):
    """Draw weights (K, D) or (O, C, F_h, F_w) with Var[w] = gain² / fan_in."""
    fan_in, _ = _fans(weight)
    return weight.normal_(0, gain / math.sqrt(fan_in))


def _fans(weight):
    cells = weight[0, 0].numel()
    return weight.shape[1] * cells, weight.shape[0] * cells


def batch_norm(
    input, running_mean, running_var, weight, bias, training=False, momentum=0.1, eps=1e-5
):
    """y = γ (x − μ) / √(σ² + ε) + β for each channel of x (N, C) or (N, C, H, W).

    In training μ and σ² are those of the batch, σ² divided by the count n, and the running
    statistics follow in place: running ← (1 − m) · running + m · batch, with the batch's σ²
    divided by n − 1.  Else they are the running ones.
    """
    dims = [0, *range(2, input.ndim)]
    mean, var = running_mean.clone(), running_var.clone()
    if training:
        mean = input.mean(dims)
        var = ((input - _column(mean, input)) ** 2).mean(dims)
        n = input.numel() / len(mean)
        with torch.no_grad():
            running_mean += momentum * (mean - running_mean)
            running_var += momentum * (var * n / (n - 1) - running_var)
    normalized = (input - _column(mean, input)) / _column(var + eps, input).sqrt()
    return _column(weight, input) * normalized + _column(bias, input)


def _column(v, x):
    """(C,) -> (C, 1, 1), for x (N, C, H, W)."""
    return v.view(-1, *[1] * (x.ndim - 2))


def dropout(input, p=0.5, training=True):
    """y = m x with m = 0 with probability p, else 1/(1 − p); x itself in evaluation."""
    if not training:
        return input
    return input * (torch.rand_like(input) >= p) / (1 - p)


class SGD(torch.optim.Optimizer):
    """g ← g + λ w,   v ← μ v + (1 − τ) g (v ← g in the first step),   w ← w − η v.

    Nesterov: w ← w − η (g + μ v).  ``maximize``: g ← −g first.  η ``lr``, μ ``momentum``,
    τ ``dampening``, λ ``weight_decay``.  w.grad is None for a parameter that is not trained.
    """

    def __init__(
        self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False,
        maximize=False,
    ):  # fmt: skip
        settings = dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay)
        super().__init__(params, dict(**settings, nesterov=nesterov, maximize=maximize))

    @torch.no_grad()
    def step(self, closure=None):
        """Update each w of ``group["params"]`` for each group of ``self.param_groups``."""
        loss = _evaluated(closure)
        for w, g, state, group in _with_gradient(self):
            g, mu = g + group["weight_decay"] * w, group["momentum"]
            v = mu * state["v"] + (1 - group["dampening"]) * g if "v" in state else g.clone()
            if mu:
                state["v"] = v
                g = g + mu * v if group["nesterov"] else v
            w -= group["lr"] * g
        return loss


class RMSprop(torch.optim.Optimizer):
    """g ← g + λ w,   v ← α v + (1 − α) g²,   w ← w − η g / (√v + ε)."""

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0):
        super().__init__(params, dict(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        """Update each w of ``group["params"]`` for each group of ``self.param_groups``."""
        loss = _evaluated(closure)
        for w, g, state, group in _with_gradient(self):
            g, alpha = g + group["weight_decay"] * w, group["alpha"]
            state["v"] = alpha * state.get("v", 0) + (1 - alpha) * g**2
            w -= group["lr"] * g / (state["v"].sqrt() + group["eps"])
        return loss


class Adam(torch.optim.Optimizer):
    """g ← g + λ w,   m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g².

    m̂ = m/(1 − β₁ᵗ),   v̂ = v/(1 − β₂ᵗ),   w ← w − η m̂ / (√v̂ + ε).

    ``amsgrad``: v̂ is of the largest v so far.  ``maximize``: g ← −g first.  η ``lr``,
    λ ``weight_decay``.  w.grad is None for a parameter that is not trained.
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False,
        maximize=False,
    ):  # fmt: skip
        settings = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        super().__init__(params, dict(**settings, amsgrad=amsgrad, maximize=maximize))

    @torch.no_grad()
    def step(self, closure=None):
        """Update each w of ``group["params"]`` for each group of ``self.param_groups``."""
        loss = _evaluated(closure)
        for w, g, state, group in _with_gradient(self):
            w -= _step_of_adam(g + group["weight_decay"] * w, state, group)
        return loss


class AdamW(torch.optim.Optimizer):
    """Adam whose decay is w ← w − η λ w, and does not enter m and v."""

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False,
        maximize=False,
    ):  # fmt: skip
        settings = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        super().__init__(params, dict(**settings, amsgrad=amsgrad, maximize=maximize))

    @torch.no_grad()
    def step(self, closure=None):
        """Update each w of ``group["params"]`` for each group of ``self.param_groups``."""
        loss = _evaluated(closure)
        for w, g, state, group in _with_gradient(self):
            w -= group["lr"] * group["weight_decay"] * w
            w -= _step_of_adam(g, state, group)
        return loss


def _step_of_adam(g, state, group):
    beta1, beta2 = group["betas"]
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
    if group["amsgrad"]:
        v = state["largest"] = torch.maximum(state.get("largest", v), v)
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return group["lr"] * m_hat / (v_hat.sqrt() + group["eps"])


def _with_gradient(optimizer):
    """Each w that has a gradient, with the gradient or its negative, its state and settings."""
    for group in optimizer.param_groups:
        for w in group["params"]:
            if w.grad is not None:
                g = -w.grad if group.get("maximize") else w.grad
                yield w, g, optimizer.state[w], group


def _evaluated(closure):
    """The loss of a closure, computed with gradients; None without a closure."""
    with torch.enable_grad():
        return None if closure is None else closure()
