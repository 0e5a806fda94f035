"""The interfaces of well-known assignments, in NumPy: out and cache, gradients from dout and cache.

Weights of an affine layer are (D, M); p of dropout is the probability of keeping a number; batch
norm's momentum is the share of the past.
"""

import numpy as np


def affine_forward(x, w, b):
    """out = x w + b of x (N, d₁, …, d_k) stretched to (N, D), w (D, M) and b (M,): (N, M)."""
    return x.reshape(len(x), -1) @ w + b, (x, w)


def affine_backward(dout, cache):
    """dx = dout wᵀ in the shape of x,   dw = xᵀ dout,   db = Σₙ doutₙ."""
    x, w = cache
    return (dout @ w.T).reshape(x.shape), x.reshape(len(x), -1).T @ dout, dout.sum(0)


def relu_forward(x):
    """out = max(0, x) of each number."""
    return np.maximum(0, x), x


def relu_backward(dout, cache):
    """dx = dout where x > 0, else 0."""
    return np.where(cache > 0, dout, 0)


def softmax_loss(x, y):
    """Mean cross-entropy of scores x (N, K) and class indices y (N,), and its gradient (N, K).

    L = −(1/N) Σₙ log pₙ of the class,   dx = ∂L/∂x, also for scores of ±10⁴.
    """
    shifted = x - x.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    rows = np.arange(len(x))
    dx = np.exp(log_p)
    dx[rows, y] -= 1
    return -log_p[rows, y].mean(), dx / len(x)


def conv_forward_naive(x, w, b, conv_param):
    """Σ of each window of x (N, C, H, W) times each filter w (F, C, HH, WW), plus b (F,).

    ``conv_param`` has ``stride`` and ``pad``, zeros on each side.  out (N, F, H', W') with
    H' = (H + 2 pad − HH)/stride + 1, rounded down.
    """
    stride, pad = conv_param["stride"], conv_param["pad"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    (height, width), (h, wide) = w.shape[2:], padded.shape[2:]
    out = np.zeros(
        (len(x), len(w), (h - height) // stride + 1, (wide - width) // stride + 1), x.dtype
    )
    for n, f, i, j in np.ndindex(out.shape):
        top, left = i * stride, j * stride
        window = padded[n, :, top : top + height, left : left + width]
        out[n, f, i, j] = (window * w[f]).sum() + b[f]
    return out, (x, w, b, conv_param)


def conv_backward_naive(dout, cache):
    """dx, dw and db, each a sum over all windows."""
    x, w, b, conv_param = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    height, width = w.shape[2:]
    dpadded, dw, db = np.zeros_like(padded), np.zeros_like(w), np.zeros_like(b)
    for n, f, i, j in np.ndindex(dout.shape):
        top, left = i * stride, j * stride
        place = (n, slice(None), slice(top, top + height), slice(left, left + width))
        dpadded[place] += dout[n, f, i, j] * w[f]
        dw[f] += dout[n, f, i, j] * padded[place]
        db[f] += dout[n, f, i, j]
    return dpadded[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]], dw, db


def max_pool_forward_naive(x, pool_param):
    """The largest number in each window of x (N, C, H, W).

    ``pool_param`` has ``pool_height``, ``pool_width`` and ``stride``.
    """
    height, width, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    n, c, h, w = x.shape
    out = np.zeros((n, c, (h - height) // stride + 1, (w - width) // stride + 1), x.dtype)
    for i, j in np.ndindex(out.shape[2:]):
        top, left = i * stride, j * stride
        out[:, :, i, j] = x[:, :, top : top + height, left : left + width].max((2, 3))
    return out, (x, pool_param)


def max_pool_backward_naive(dout, cache):
    """Each window adds its dout to dx where its largest number lies."""
    x, pool_param = cache
    height, width, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dout.shape):
        top, left = i * stride, j * stride
        window = x[n, c, top : top + height, left : left + width]
        a, e = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, top + a, left + e] += dout[n, c, i, j]
    return dx


def batchnorm_forward(x, gamma, beta, bn_param):
    """out = γ (x − μ)/√(σ² + ε) + β of each column of x (N, D).

    ``bn_param`` has ``mode``, ``eps``, ``momentum``, ``running_mean`` and ``running_var``. In mode
    "train" μ and σ² are those of the batch, which the running ones follow:
    running = momentum · running + (1 − momentum) · batch; in mode "test" they are the running ones.
    """
    momentum, training = bn_param.get("momentum", 0.9), bn_param["mode"] == "train"
    running = (
        bn_param.get("running_mean", np.zeros(x.shape[1], x.dtype)),
        bn_param.get("running_var", np.zeros(x.shape[1], x.dtype)),
    )
    mean, var = (x.mean(0), x.var(0)) if training else running
    if training:
        bn_param["running_mean"] = momentum * running[0] + (1 - momentum) * mean
        bn_param["running_var"] = momentum * running[1] + (1 - momentum) * var
    scale = 1 / np.sqrt(var + bn_param.get("eps", 1e-5))
    x_hat = (x - mean) * scale
    return gamma * x_hat + beta, (x_hat, gamma, scale, training)


def batchnorm_backward(dout, cache):
    """dx, dγ and dβ; in training x acts through μ and σ² as well."""
    x_hat, gamma, scale, training = cache
    dx_hat = dout * gamma
    dx = dx_hat
    if training:
        dx = dx_hat - dx_hat.mean(0) - x_hat * (dx_hat * x_hat).mean(0)
    return dx * scale, (dout * x_hat).sum(0), dout.sum(0)


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    """Batch norm of each channel of x (N, C, H, W), over examples and pixels."""
    n, c, h, w = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(-1, c)
    out, cache = batchnorm_forward(rows, gamma, beta, bn_param)
    return out.reshape(n, h, w, c).transpose(0, 3, 1, 2), cache


def spatial_batchnorm_backward(dout, cache):
    """dx (N, C, H, W), dγ and dβ (C,)."""
    n, c, h, w = dout.shape
    dx, dgamma, dbeta = batchnorm_backward(dout.transpose(0, 2, 3, 1).reshape(-1, c), cache)
    return dx.reshape(n, h, w, c).transpose(0, 3, 1, 2), dgamma, dbeta


def dropout_forward(x, dropout_param):
    """out = x mask, where the mask is 1/p with probability p, else 0; x itself in mode "test".

    ``dropout_param`` has ``p``, ``mode`` and perhaps ``seed``.
    """
    p, mode = dropout_param["p"], dropout_param["mode"]
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])
    mask = np.ones_like(x)
    if mode == "train":
        mask = ((np.random.rand(*x.shape) < p) / p).astype(x.dtype)
    return x * mask, mask


def dropout_backward(dout, cache):
    """dx = dout mask."""
    return dout * cache


def sgd(w, dw, config):
    """w − η dw with η ``learning_rate``."""
    config.setdefault("learning_rate", 1e-2)
    return w - config["learning_rate"] * dw, config


def sgd_momentum(w, dw, config):
    """v ← μ v − η dw,   w + v, with μ ``momentum`` and v ``velocity``, 0 at first."""
    v = config.setdefault("momentum", 0.9) * config.get("velocity", np.zeros_like(w))
    v = v - config.setdefault("learning_rate", 1e-2) * dw
    config["velocity"] = v
    return w + v, config


def rmsprop(w, dw, config):
    """c ← ρ c + (1 − ρ) dw²,   w − η dw/(√c + ε), with ρ ``decay_rate`` and c ``cache``."""
    decay_rate = config.setdefault("decay_rate", 0.99)
    config["cache"] = decay_rate * config.get("cache", 0) + (1 - decay_rate) * dw**2
    scale = np.sqrt(config["cache"]) + config.setdefault("epsilon", 1e-8)
    return w - config.setdefault("learning_rate", 1e-2) * dw / scale, config


def adam(w, dw, config):
    """m ← β₁ m + (1 − β₁) dw,   v ← β₂ v + (1 − β₂) dw²,   w − η m̂/(√v̂ + ε).

    m̂ = m/(1 − β₁ᵗ),   v̂ = v/(1 − β₂ᵗ).  ``config`` has ``learning_rate``, ``beta1``, ``beta2``,
    ``epsilon``, and from the first step on ``m``, ``v`` and ``t``.
    """
    beta1, beta2 = config.setdefault("beta1", 0.9), config.setdefault("beta2", 0.999)
    config["t"] = config.get("t", 0) + 1
    config["m"] = beta1 * config.get("m", 0) + (1 - beta1) * dw
    config["v"] = beta2 * config.get("v", 0) + (1 - beta2) * dw**2
    m_hat = config["m"] / (1 - beta1 ** config["t"])
    v_hat = config["v"] / (1 - beta2 ** config["t"])
    scale = np.sqrt(v_hat) + config.setdefault("epsilon", 1e-8)
    return w - config.setdefault("learning_rate", 1e-3) * m_hat / scale, config
