"""Formulas in torch style: functions that autograd differentiates, Functions, optimizer classes."""

import torch
from torch.autograd import Function
from torch.nn.functional import pad, unfold


def linear(x, w, b=None):
    s = x @ w.T
    return s if b is None else s + b


class relu(Function):  # noqa: N801
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * (x > 0)


def cross_entropy(scores, labels, label_smoothing=0.0):
    log_p = scores - scores.logsumexp(1, keepdim=True)
    picked = log_p[torch.arange(len(labels)), labels]
    losses = (1 - label_smoothing) * picked + label_smoothing * log_p.mean(1)
    return -losses.mean()


def conv2d(x, w, b=None, stride=1, padding=0):
    columns = unfold(x, w.shape[2:], padding=padding, stride=stride)  # (N, D, L)
    side = [(n + 2 * padding - f) // stride + 1 for n, f in zip(x.shape[2:], w.shape[2:])]  # noqa: B905
    z = w.view(len(w), -1) @ columns
    z = z.reshape(len(x), len(w), *side)
    return z if b is None else z + b[:, None, None]


def max_pool2d(x, kernel_size, stride=None, padding=0):
    s = stride or kernel_size
    x = pad(x, [padding] * 4, value=-float("inf"))
    return x.unfold(2, kernel_size, s).unfold(3, kernel_size, s).amax((-2, -1))


def batch_norm(x, running_mean, running_var, weight, bias, training=False, momentum=0.1, eps=1e-5):
    dims = [d for d in range(x.ndim) if d != 1]
    shape = [1, -1] + [1] * (x.ndim - 2)
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(dims), x.var(dims, unbiased=False)
        n = x.numel() / x.shape[1]
        with torch.no_grad():
            running_mean += momentum * (mean - running_mean)
            running_var += momentum * (var * n / (n - 1) - running_var)
    x = (x - mean.view(shape)) / (var.view(shape) + eps).sqrt()
    return x * weight.view(shape) + bias.view(shape)


def dropout(x, p=0.5, training=True):
    if not training or p == 0:
        return x
    return x * torch.empty_like(x).bernoulli_(1 - p) / (1 - p)


def he(weight, gain=2**0.5):
    fan_in = weight[0].numel()
    return weight.normal_(std=gain / fan_in**0.5)


class SGD(torch.optim.Optimizer):
    def __init__(self, params, lr=0.01, momentum=0.0, weight_decay=0.0, nesterov=False):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"nesterov": nesterov})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                g = w.grad + group["weight_decay"] * w
                if group["momentum"]:
                    v = self.state[w].setdefault("v", torch.zeros_like(w))
                    v *= group["momentum"]
                    v += g
                    g = g + group["momentum"] * v if group["nesterov"] else v
                w -= group["lr"] * g


class Adam:
    """A class of its own, which keeps its state in attributes."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        self.params, self.lr, self.betas, self.eps = list(params), lr, betas, eps
        self.t, self.m, self.v = 0, {}, {}

    def step(self):
        self.t += 1
        beta1, beta2 = self.betas
        for w in self.params:
            if w.grad is None:
                continue
            m, v = self.m.get(w, 0), self.v.get(w, 0)
            m = self.m[w] = beta1 * m + (1 - beta1) * w.grad
            v = self.v[w] = beta2 * v + (1 - beta2) * w.grad**2
            m, v = m / (1 - beta1**self.t), v / (1 - beta2**self.t)
            w -= self.lr * m / (v**0.5 + self.eps)
