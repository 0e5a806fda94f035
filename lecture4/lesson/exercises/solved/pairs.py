"""The lecture's formulas as pairs on NumPy arrays, forward and backward derived by hand.

NAME_forward(...) -> (out, cache)
NAME_backward(dout, cache) -> the gradients of its arguments, in their order
"""

import math

import numpy as np


def linear_forward(x, weight, bias):
    """s = x Wᵀ + b of x (N, D), W (K, D) and b (K,): (N, K)."""
    return x @ weight.T + bias, (x, weight)


def linear_backward(dout, cache):
    """∂L/∂x = ∂L/∂s W,   ∂L/∂W = (∂L/∂s)ᵀ x,   ∂L/∂b = Σₙ ∂L/∂sₙ."""
    x, weight = cache
    return dout @ weight, dout.T @ x, dout.sum(0)


def softmax_forward(x, dim=1):
    """p_k = exp(s_k) / Σⱼ exp(s_j) along ``dim``, also for scores of ±10⁴."""
    e = np.exp(x - x.max(dim, keepdims=True))
    p = e / e.sum(dim, keepdims=True)
    return p, (p, dim)


def softmax_backward(dout, cache):
    """∂L/∂s = p ⊙ (∂L/∂p − Σᵢ ∂L/∂pᵢ pᵢ)."""
    p, dim = cache
    return p * (dout - (dout * p).sum(dim, keepdims=True))


def log_softmax_forward(x, dim=1):
    """log p_k = s_k − log Σⱼ exp(s_j) along ``dim``, finite also where p rounds to 0."""
    shifted = x - x.max(dim, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(dim, keepdims=True))
    return log_p, (log_p, dim)


def log_softmax_backward(dout, cache):
    """∂L/∂s = ∂L/∂log p − p Σᵢ ∂L/∂log pᵢ."""
    log_p, dim = cache
    return dout - np.exp(log_p) * dout.sum(dim, keepdims=True)


def entropy_forward(p, base=math.e):
    """H(P) = −Σₖ pₖ log pₖ of p (..., K), in units of log ``base``: (...).  0 · log 0 = 0."""
    log_p = np.log(np.where(p > 0, p, 1))
    return -(p * log_p).sum(-1) / math.log(base), (log_p, base)


def entropy_backward(dout, cache):
    """∂H/∂pₖ = −log pₖ − 1."""
    log_p, base = cache
    return -np.expand_dims(dout, -1) * (log_p + 1) / math.log(base)


def cross_entropy_of_forward(p, q, base=math.e):
    """H(P, Q) = −Σₖ pₖ log qₖ of p and q (..., K), in units of log ``base``: (...)."""
    q = np.where(p > 0, q, 1)
    return -(p * np.log(q)).sum(-1) / math.log(base), (p, q, base)


def cross_entropy_of_backward(dout, cache):
    """∂H/∂pₖ = −log qₖ,   ∂H/∂qₖ = −pₖ/qₖ."""
    p, q, base = cache
    dout = np.expand_dims(dout, -1) / math.log(base)
    return -dout * np.log(q), -dout * p / q


def kl_divergence_forward(p, q, base=math.e):
    """D(P ‖ Q) = Σₖ pₖ log(pₖ/qₖ) of p and q (..., K), in units of log ``base``: (...)."""
    ratio = np.where(p > 0, p, 1) / np.where(p > 0, q, 1)
    return (p * np.log(ratio)).sum(-1) / math.log(base), (ratio, base)


def kl_divergence_backward(dout, cache):
    """∂D/∂pₖ = log(pₖ/qₖ) + 1,   ∂D/∂qₖ = −pₖ/qₖ."""
    ratio, base = cache
    dout = np.expand_dims(dout, -1) / math.log(base)
    return dout * (np.log(ratio) + 1), -dout * ratio


def cross_entropy_forward(x, target, reduction="mean", label_smoothing=0.0):
    """Lₙ = −Σₖ yₙₖ log pₙₖ, p = softmax(s), of scores s (N, K) and class indices (N,).

    y = (1 − α) one-hot + α/K with α = ``label_smoothing``.
    ``reduction``: "none" for Lₙ (N,), "sum" for Σₙ Lₙ, "mean" for Σₙ Lₙ / N.
    """
    k = x.shape[1]
    log_p, _ = log_softmax_forward(x, 1)
    y = (1 - label_smoothing) * np.eye(k, dtype=x.dtype)[target] + label_smoothing / k
    return _reduced(-(y * log_p).sum(1), reduction), (log_p, y, reduction)


def cross_entropy_backward(dout, cache):
    """∂L/∂s = p − y, divided by N for the mean."""
    log_p, y, reduction = cache
    return _share(dout, len(y), reduction) * (np.exp(log_p) - y)


def nll_loss_forward(x, target, reduction="mean"):
    """Lₙ = −log pₙ of the class, of log-probabilities (N, K) and class indices (N,).

    ``reduction``: "none" for Lₙ (N,), "sum" for Σₙ Lₙ, "mean" for Σₙ Lₙ / N.
    """
    y = np.eye(x.shape[1], dtype=x.dtype)[target]
    return _reduced(-(y * x).sum(1), reduction), (y, reduction)


def nll_loss_backward(dout, cache):
    """∂L/∂log p = −y with the one-hot y, divided by N for the mean."""
    y, reduction = cache
    return -_share(dout, len(y), reduction) * y


def _reduced(losses, reduction):
    return losses if reduction == "none" else getattr(losses, reduction)()


def _share(dout, n, reduction):
    """∂L/∂Lₙ, a column (N, 1) or a number."""
    return dout.reshape(-1, 1) if reduction == "none" else dout / (n if reduction == "mean" else 1)


def relu_forward(x):
    """f(x) = max(0, x) of each number."""
    return np.maximum(0, x), x


def relu_backward(dout, cache):
    """∂L/∂x = ∂L/∂y where x > 0, else 0."""
    return dout * (cache > 0)


def leaky_relu_forward(x, negative_slope=0.01):
    """f(x) = x where x > 0, else α x, with α = ``negative_slope``."""
    return np.where(x > 0, x, negative_slope * x), (x, negative_slope)


def leaky_relu_backward(dout, cache):
    """∂L/∂x = ∂L/∂y where x > 0, else α ∂L/∂y."""
    x, negative_slope = cache
    return np.where(x > 0, dout, negative_slope * dout)


def sigmoid_forward(x):
    """σ(x) = 1 / (1 + e⁻ˣ) of each number, also for ±10⁴."""
    e = np.exp(-np.abs(x))  # ≤ 1
    y = np.where(x > 0, 1, e) / (1 + e)
    return y, y


def sigmoid_backward(dout, cache):
    """∂L/∂x = ∂L/∂y y (1 − y)."""
    return dout * cache * (1 - cache)


def tanh_forward(x):
    """tanh(x) = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ) of each number, also for ±10⁴."""
    y = np.tanh(x)
    return y, y


def tanh_backward(dout, cache):
    """∂L/∂x = ∂L/∂y (1 − y²)."""
    return dout * (1 - cache**2)


def gelu_forward(x):
    """f(x) = x Φ(x) of each number, with Φ(x) = erfc(−x/√2) / 2."""
    cumulative = (np.vectorize(math.erfc)(-x / math.sqrt(2)) / 2).astype(x.dtype)
    return x * cumulative, (x, cumulative)


def gelu_backward(dout, cache):
    """∂L/∂x = ∂L/∂y (Φ + x φ), with φ(x) = e^(−x²/2) / √(2π)."""
    x, cumulative = cache
    return dout * (cumulative + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))


def silu_forward(x):
    """f(x) = x σ(x) of each number."""
    y, _ = sigmoid_forward(x)
    return x * y, (x, y)


def silu_backward(dout, cache):
    """∂L/∂x = ∂L/∂y (σ + x σ (1 − σ))."""
    x, y = cache
    return dout * (y + x * y * (1 - y))


def conv2d_forward(x, weight, bias, stride=1, padding=0):
    """z_noij = b_o + Σ_cae w_ocae x_nc,Si+a,Sj+e, with x padded by P zeros on each side.

    x (N, C, H, W), w (O, C, F_h, F_w), b (O,): (N, O, H', W').
    """
    padded = _padded(x, padding, 0)
    z = np.zeros((len(x), len(weight), *_size(padded, weight.shape[2:], stride)), x.dtype)
    for i, j, window in _windows(padded, weight.shape[2:], stride):
        z[:, :, i, j] = np.tensordot(padded[window], weight, ((1, 2, 3), (1, 2, 3))) + bias
    return z, (padded, weight, stride, padding)


def conv2d_backward(dout, cache):
    """Each window adds its share: ∂L/∂x += ∂L/∂z w,   ∂L/∂w += ∂L/∂z x;   ∂L/∂b = Σ ∂L/∂z."""
    padded, weight, stride, padding = cache
    dx, dweight = np.zeros_like(padded), np.zeros_like(weight)
    for i, j, window in _windows(padded, weight.shape[2:], stride):
        dz = dout[:, :, i, j]  # (N, O)
        dx[window] += np.tensordot(dz, weight, (1, 0))
        dweight += np.tensordot(dz, padded[window], (0, 0))
    return _cropped(dx, padding), dweight, dout.sum((0, 2, 3))


def max_pool2d_forward(x, kernel_size, stride, padding=0):
    """The largest number in each window of F×F pixels, S apart: (N, C, H', W').

    P pixels of −∞ lie around the border.
    """
    padded, sides = _padded(x, padding, -np.inf), (kernel_size, kernel_size)
    y = np.zeros((*x.shape[:2], *_size(padded, sides, stride)), x.dtype)
    for i, j, window in _windows(padded, sides, stride):
        y[:, :, i, j] = padded[window].max((2, 3))
    return y, (padded, sides, stride, padding)


def max_pool2d_backward(dout, cache):
    """∂L/∂x += ∂L/∂y at the first maximum of each window."""
    padded, sides, stride, padding = cache
    dx = np.zeros_like(padded)
    n, c = np.indices(padded.shape[:2])
    for i, j, window in _windows(padded, sides, stride):
        first = padded[window].reshape(*padded.shape[:2], -1).argmax(-1)  # (N, C)
        a, e = np.divmod(first, sides[1])
        dx[n, c, i * stride + a, j * stride + e] += dout[:, :, i, j]
    return _cropped(dx, padding)


def avg_pool2d_forward(x, kernel_size, stride, padding=0):
    """The mean of each window of F×F pixels, S apart: (N, C, H', W').

    P zeros lie around the border, and count in the mean.
    """
    padded, sides = _padded(x, padding, 0), (kernel_size, kernel_size)
    y = np.zeros((*x.shape[:2], *_size(padded, sides, stride)), x.dtype)
    for i, j, window in _windows(padded, sides, stride):
        y[:, :, i, j] = padded[window].mean((2, 3))
    return y, (padded, sides, stride, padding)


def avg_pool2d_backward(dout, cache):
    """∂L/∂x += ∂L/∂y / F² in each window."""
    padded, sides, stride, padding = cache
    dx = np.zeros_like(padded)
    for i, j, window in _windows(padded, sides, stride):
        dx[window] += dout[:, :, i, j, None, None] / (sides[0] * sides[1])
    return _cropped(dx, padding)


def _padded(x, p, value):
    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=value)


def _cropped(x, p):
    return x[:, :, p : x.shape[2] - p, p : x.shape[3] - p]


def _size(padded, sides, stride):
    return tuple((n - f) // stride + 1 for n, f in zip(padded.shape[2:], sides, strict=True))


def _windows(padded, sides, stride):
    """Position (i, j) of each window, and its pixels."""
    for i, j in np.ndindex(_size(padded, sides, stride)):
        top, left = i * stride, j * stride
        yield i, j, (..., slice(top, top + sides[0]), slice(left, left + sides[1]))


def output_size(n, kernel_size, stride=1, padding=0):
    """⌊(N + 2P − F)/S⌋ + 1 positions of a window of F pixels along a side of N."""
    return (n + 2 * padding - kernel_size) // stride + 1


def flatten_forward(x, start_dim=0, end_dim=-1):
    """Stretch dimensions ``start_dim`` to ``end_dim`` into one: (N, C, H, W) -> (N, C·H·W)."""
    end = end_dim % x.ndim
    return x.reshape(*x.shape[:start_dim], -1, *x.shape[end + 1 :]), x.shape


def flatten_backward(dout, cache):
    """∂L/∂x = the numbers of ∂L/∂y in the shape of x."""
    return dout.reshape(cache)


def batch_norm_forward(
    x, running_mean, running_var, weight, bias, training=False, momentum=0.1, eps=1e-5
):
    """y = γ (x − μ) / √(σ² + ε) + β for each channel of x (N, C) or (N, C, H, W).

    In training μ and σ² are those of the batch, σ² divided by the count n, and the running
    statistics follow in place: running ← (1 − m) · running + m · batch, with the batch's σ²
    divided by n − 1.  Else they are the running ones.
    """
    axes, per_channel = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    mean, var = running_mean, running_var
    if training:
        mean, var, n = x.mean(axes), x.var(axes), x.size / x.shape[1]
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (var * n / (n - 1) - running_var)
    scale = 1 / np.sqrt(var + eps).reshape(per_channel)
    x_hat, weight = (x - mean.reshape(per_channel)) * scale, weight.reshape(per_channel)
    return weight * x_hat + bias.reshape(per_channel), (x_hat, weight * scale, axes, training)


def batch_norm_backward(dout, cache):
    """Gradients of x, γ and β.

    ∂L/∂x = γ (∂L/∂y − mean(∂L/∂y) − x̂ mean(∂L/∂y x̂)) / √(σ² + ε)    in training
    ∂L/∂x = γ ∂L/∂y / √(σ² + ε)                                       else
    ∂L/∂γ = Σ ∂L/∂y x̂,   ∂L/∂β = Σ ∂L/∂y
    """
    x_hat, slope, axes, training = cache
    dx = dout
    if training:
        shared = (dout * x_hat).mean(axes, keepdims=True)
        dx = dout - dout.mean(axes, keepdims=True) - x_hat * shared
    return slope * dx, (dout * x_hat).sum(axes), dout.sum(axes)


def dropout_forward(x, p=0.5, training=True):
    """y = m x with m = 0 with probability p, else 1/(1 − p); x itself in evaluation."""
    mask = (np.random.random(x.shape) >= p) / (1 - p) if training else np.ones(x.shape)
    mask = mask.astype(x.dtype)
    return x * mask, mask


def dropout_backward(dout, cache):
    """∂L/∂x = m ∂L/∂y, with the mask of the forward pass."""
    return dout * cache


def xavier(weight, gain=1.0):
    """Draw weights (K, D) or (O, C, F_h, F_w) with Var[w] = gain² · 2 / (fan_in + fan_out)."""
    fan_in, fan_out = weight[0].size, weight[:, 0].size
    return np.random.normal(0, gain * math.sqrt(2 / (fan_in + fan_out)), weight.shape)


def he(weight, gain=2**0.5):
    """Draw weights (K, D) or (O, C, F_h, F_w) with Var[w] = gain² / fan_in."""
    return np.random.normal(0, gain / math.sqrt(weight[0].size), weight.shape)


def gradient(f, x, h=1e-5):
    """∂f/∂xᵢ ≈ (f(x + h eᵢ) − f(x − h eᵢ)) / 2h for each number of x, in the shape of x.

    ``f`` takes an array shaped as x and returns a number; x is not changed.
    """
    slopes = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[i] = h
        slopes[i] = (f(x + e) - f(x - e)) / (2 * h)
    return slopes


def l1_penalty(weights):
    """R = Σ |w| over all numbers of a list of weights, tensors that autograd differentiates."""
    return sum(abs(w).sum() for w in weights)


def l2_penalty(weights):
    """R = Σ w² over all numbers of a list of weights, tensors that autograd differentiates."""
    return sum((w**2).sum() for w in weights)


class SGD:
    """g ← g + λ w,   v ← μ v + (1 − τ) g (v ← g in the first step),   w ← w − η v.

    Nesterov: w ← w − η (g + μ v).  ``maximize``: g ← −g first.  η ``lr``, μ ``momentum``,
    τ ``dampening``, λ ``weight_decay``.  w.grad is None for a parameter that is not trained.
    """

    def __init__(
        self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False,
        maximize=False,
    ):  # fmt: skip
        self.params, self.lr, self.momentum, self.dampening = list(params), lr, momentum, dampening
        self.weight_decay, self.nesterov, self.maximize = weight_decay, nesterov, maximize
        self.velocity = {}

    def step(self):
        """Update each w of ``self.params``, tensors, in place (``w.data -= …``)."""
        for i, w in enumerate(self.params):
            if w.grad is None:
                continue
            g = (-w.grad if self.maximize else w.grad) + self.weight_decay * w.data
            if self.momentum:
                v = self.velocity.get(i)
                v = g if v is None else self.momentum * v + (1 - self.dampening) * g
                self.velocity[i] = v
                g = g + self.momentum * v if self.nesterov else v
            w.data -= self.lr * g


class RMSprop:
    """g ← g + λ w,   v ← α v + (1 − α) g²,   w ← w − η g / (√v + ε)."""

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0):
        self.params, self.lr, self.alpha, self.eps = list(params), lr, alpha, eps
        self.weight_decay, self.v = weight_decay, {}

    def step(self):
        """Update each w of ``self.params``, tensors, in place (``w.data -= …``)."""
        for i, w in enumerate(self.params):
            if w.grad is not None:
                g = w.grad + self.weight_decay * w.data
                v = self.v[i] = self.alpha * self.v.get(i, 0) + (1 - self.alpha) * g**2
                w.data -= self.lr * g / (v**0.5 + self.eps)


class Adam:
    """g ← g + λ w,   m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g².

    m̂ = m/(1 − β₁ᵗ),   v̂ = v/(1 − β₂ᵗ),   w ← w − η m̂ / (√v̂ + ε).

    ``amsgrad``: v̂ is of the largest v so far.  ``maximize``: g ← −g first.  η ``lr``,
    λ ``weight_decay``.  w.grad is None for a parameter that is not trained.
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False,
        maximize=False,
    ):  # fmt: skip
        self.params, self.lr, self.betas, self.eps = list(params), lr, betas, eps
        self.weight_decay, self.amsgrad, self.maximize = weight_decay, amsgrad, maximize
        self.t, self.m, self.v, self.largest = 0, {}, {}, {}

    def step(self):
        """Update each w of ``self.params``, tensors, in place (``w.data -= …``)."""
        self.t += 1
        for i, w in enumerate(self.params):
            if w.grad is not None:
                g = -w.grad if self.maximize else w.grad
                w.data -= _step_of_adam(self, i, g + self.weight_decay * w.data)


class AdamW:
    """Adam whose decay is w ← w − η λ w, and does not enter m and v."""

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False,
        maximize=False,
    ):  # fmt: skip
        self.params, self.lr, self.betas, self.eps = list(params), lr, betas, eps
        self.weight_decay, self.amsgrad, self.maximize = weight_decay, amsgrad, maximize
        self.t, self.m, self.v, self.largest = 0, {}, {}, {}

    def step(self):
        """Update each w of ``self.params``, tensors, in place (``w.data -= …``)."""
        self.t += 1
        for i, w in enumerate(self.params):
            if w.grad is not None:
                w.data -= self.lr * self.weight_decay * w.data
                w.data -= _step_of_adam(self, i, -w.grad if self.maximize else w.grad)


def _step_of_adam(adam, i, g):
    beta1, beta2 = adam.betas
    m = adam.m[i] = beta1 * adam.m.get(i, 0) + (1 - beta1) * g
    v = adam.v[i] = beta2 * adam.v.get(i, 0) + (1 - beta2) * g**2
    if adam.amsgrad:
        v = adam.largest[i] = v.maximum(adam.largest.get(i, v))
    m_hat, v_hat = m / (1 - beta1**adam.t), v / (1 - beta2**adam.t)
    return adam.lr * m_hat / (v_hat**0.5 + adam.eps)
