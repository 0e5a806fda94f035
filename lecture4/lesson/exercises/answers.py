"""What a function answers on a case: values, gradients, paths, as arrays; and which are wrong.

The reference, each mistake of the catalogue and a student's function are measured alike.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from numbers import Integral
from typing import Any

import numpy as np
import torch

from lecture4.lesson.exercises.arguments import (
    REFERENCES,
    applies,
    bound,
    copies,
    fans,
    tensors,
    widened,
)
from lecture4.lesson.exercises.case import F32, F64, Case, normal
from lecture4.lesson.exercises.cases import OPTIMIZERS, SCHEDULE, TWO_GROUPS

Answers = dict[str, np.ndarray]
STEPS = 20  # of an optimizer
UPSTREAM, DIRECTION, GRADIENT = 2**31, 2**31 + 1000, 2**31 + 2000  # seeds of no input
H = 1e-3  # of finite differences; also a function that rounds to float32 then has a slope
BY_DIFFERENCES = "gradient agrees with finite differences"  # asked in float64
AUTHOR, BYHAND = "computed by", "lecture4.byhand"  # where a file calls its or torch's function


def answers(name: str, call: Callable, case: Case) -> Answers:
    """Call a function on copies of a case's arguments; keys are in a reader's words.

    Args:
        name: of the formula, a key of ``CASES``.
        call: takes the arguments of the reference of that name; an optimizer's class.
        case: one of ``CASES[name]``.

    Returns:
        The answers; none if ``call`` lacks the option of an optional case.

    Raises:
        Exception: what ``call`` raises, and TypeError if it returns no tensor.
    """
    if not applies(name, call, case):
        return {}
    if name in OPTIMIZERS:
        return _path(call, case)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "dropout":
            return _masks(call, case)
        if name in ("xavier", "he"):
            return _weights_drawn(name, call, case)
        return _values(name, call, case)


@cache
def expected(name: str, case: Case) -> Answers:
    """The reference's answers to one of ``CASES[name]``, computed in float64."""
    wide = replace(case, arguments=widened(case), tags=case.tags - {"float32"})
    found = answers(name, REFERENCES[name], wide)
    found.pop(AUTHOR, None)
    if "dtype" in found and name != "output_size":
        found["dtype"] = _dtype(case.dtype)
    if case.dtype == F32:
        found.pop(BY_DIFFERENCES, None)
    return found


# Functions that have a gradient.


def _values(name: str, call: Callable, case: Case) -> Answers:
    given, leaves = copies(case)
    args, kwargs = bound(name, call, case, given)
    value = _tensor(name, call(*args, **kwargs))
    found = {"value": value.detach().numpy(), "dtype": _kept(value, call, case)}
    if author := _author(name, value):
        found[AUTHOR] = np.array(author)
    if leaves and value.requires_grad:
        dy = normal(*value.shape, seed=UPSTREAM).to(value.dtype)
        gradients = torch.autograd.grad(
            value, list(leaves.values()), dy.clone(), allow_unused=True, materialize_grads=True
        )
        for title, g in zip(leaves, gradients, strict=True):
            key = f"gradient of {title}"
            found[f"{key}, summed over each window" if case.ties else key] = (
                _summed(g, case) if case.ties else g
            ).numpy()
        if not case.ties and _differentiable(case):
            fits = _fits(name, call, case, dy, gradients)
            found[BY_DIFFERENCES] = np.array(fits)
    for title, tensor, before in tensors(given, case.arguments):
        if title in ("running_mean", "running_var"):
            found[title] = tensor.detach().numpy()
        else:
            found[f"{title} unchanged"] = np.array(torch.equal(tensor.detach(), before))
    return found


def _fits(name: str, call: Callable, case: Case, dy, gradients) -> bool:
    """Whether ⟨∂L/∂x, v⟩ ≈ (L(x + h v) − L(x − h v)) / 2h for a random direction v of all x."""
    v = [normal(*g.shape, seed=DIRECTION + i) for i, g in enumerate(gradients)]
    slope = 0.0
    for sign in (1, -1):
        given, _ = copies(case, [sign * H * direction for direction in v])
        args, kwargs = bound(name, call, case, given)
        slope += sign * (call(*args, **kwargs).detach() * dy).sum().item() / (2 * H)
    by_gradient = sum(
        (g * direction).sum().item() for g, direction in zip(gradients, v, strict=True)
    )
    size = sum(
        (g * direction).abs().sum().item() for g, direction in zip(gradients, v, strict=True)
    )
    return abs(slope - by_gradient) <= 1e-2 * max(size, abs(slope), 1e-2)


def _differentiable(case: Case) -> bool:
    """Whether a step of h is neither lost in rounding nor across a kink."""
    floats = [t for _, t, _ in tensors(case.arguments, case.arguments) if t.is_floating_point()]
    return case.dtype == F64 and all(0 < t.abs().max() < 100 for t in floats)


def _summed(g: torch.Tensor, case: Case) -> torch.Tensor:
    """Sum of each window, which do not overlap."""
    f = case.arguments["kernel_size"]
    return torch.nn.functional.avg_pool2d(g, f, case.arguments["stride"], divisor_override=1)


# Random functions: properties in place of values.


def _masks(call: Callable, case: Case) -> Answers:
    given, leaves = copies(case)
    x = leaves["x"]
    args, kwargs = bound("dropout", call, case, given)
    y = _tensor("dropout", call(*args, **kwargs))
    if y.shape != x.shape:
        return {"value": y.detach().numpy()}
    kept = y.detach() != 0
    found = {
        "dtype": _kept(y, call, case),
        "share kept": kept.double().mean().numpy(),
        "kept values / x": _range((y / x).detach()[kept]),
        "x unchanged": np.array(torch.equal(given["input"], x)),
    }
    if case.arguments["training"] and case.arguments["p"]:
        rows = kept.flatten(1)
        found["examples have masks of their own"] = np.array(bool((rows != rows[0]).any()))
        found["units have masks of their own"] = np.array(bool((rows != rows[:, :1]).any()))
    if y.requires_grad:
        dy = normal(*y.shape, seed=UPSTREAM, dtype=y.dtype).abs() + 0.5
        (dx,) = torch.autograd.grad(y, x, dy.clone())
        found["gradient has the mask of the value"] = np.array(torch.equal(dx != 0, kept))
        found["share of the gradient kept"] = (dx != 0).double().mean().numpy()
        found["gradient / gradient of y, where kept"] = _range((dx / dy)[dx != 0])
    return found


def _range(numbers: torch.Tensor) -> np.ndarray:
    """Smallest and largest; zeros of none."""
    ends = [numbers.min(), numbers.max()] if numbers.numel() else [torch.zeros(())] * 2
    return torch.stack(ends).numpy()


def _weights_drawn(name: str, call: Callable, case: Case) -> Answers:
    given, _ = copies(case)
    args, kwargs = bound(name, call, case, given)
    returned = call(*args, **kwargs)
    filled = given["weight"]
    if isinstance(returned, torch.Tensor) and returned.shape == filled.shape:
        filled = returned
    w, (fan_in, fan_out) = filled.detach().double(), fans(filled)
    fan, title = (fan_in, "fan_in") if name == "he" else ((fan_in + fan_out) / 2, "mean fan")
    return {
        f"variance · {title}": (w.var() * fan).numpy(),
        "mean / standard deviation": (w.mean() / w.std().clamp(min=1e-12)).numpy(),
    }


# Optimizers.


def _path(call: Callable, case: Case) -> Answers:
    dtype = case.dtype
    weights = [torch.nn.Parameter(normal(*s, seed=len(s), dtype=dtype)) for s in ((3, 4), (4,))]
    params: list = weights
    if TWO_GROUPS in case.tags:
        second = {"params": weights[1:], "lr": case.arguments["lr"] / 10}
        decay = {"weight_decay": 0.0} if "weight_decay" in case.arguments else {}
        params = [{"params": weights[:1]}, second | decay]
    optimizer = call(params, **case.arguments)
    found = {}
    for t in range(1, STEPS + 1):
        for i, w in enumerate(weights):
            w.grad = normal(*w.shape, seed=GRADIENT + 2 * t + i, dtype=dtype) + 0.5
        optimizer.step()
        numbers = torch.cat([w.detach().flatten() for w in weights])
        found[f"weights after step {t}"] = numbers.numpy()
        if SCHEDULE in case.tags and t == STEPS // 2:
            for group in optimizer.param_groups:
                group["lr"] /= 2
    for base in type(optimizer).__mro__:
        if base.__name__ == call.__name__ and base.__module__.startswith(("torch.", BYHAND)):
            found[AUTHOR] = np.array(f"{base.__module__}.{base.__name__}")
    return found | {"dtype": _dtype(weights[0])}


# of torch's function of that name in a graph of autograd, as far as no other function adds it
NODES = {"cross_entropy": "NllLoss", "conv2d": "Convolution", "max_pool2d": "MaxPool2DWithIndices"}
NODES |= {"avg_pool2d": "AvgPool2D", "batch_norm": "NativeBatchNorm", "leaky_relu": "LeakyRelu"}
NODES |= {k: k.title().replace("_", "") for k in ("softmax", "log_softmax", "nll_loss")}
NODES |= {k: k.title() for k in ("relu", "sigmoid", "tanh", "gelu", "silu")}


def _author(name: str, value: torch.Tensor) -> str:
    """Whose function autograd recorded: torch's of that name, one of lecture4.byhand, or ""."""
    nodes, seen = [value.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == f"{NODES.get(name)}Backward0":
            return f"torch's own {name}"
        if getattr(node, "_forward_cls", object).__module__.startswith(BYHAND):
            return BYHAND
        nodes += [parent for parent, _ in node.next_functions]
    return ""


def _tensor(name: str, value: Any) -> torch.Tensor:
    """The returned value; whole numbers become tensors."""
    if isinstance(value, Integral | float) and name == "output_size":
        return torch.tensor(int(value) if isinstance(value, Integral) else value)
    if not isinstance(value, torch.Tensor):
        forgotten = "; is a return missing?" if value is None else ""
        raise TypeError(f"{name} returned {type(value).__name__}, not a tensor{forgotten}")
    return value


def _kept(value: torch.Tensor, call: Callable, case: Case) -> np.ndarray:
    """The dtype of a value; what NumPy computes may be wider, as its zeros are of float64."""
    wider = getattr(call, "numpy", False) and value.dtype == F64
    return _dtype(case.dtype if wider else value)


def _dtype(of: torch.Tensor | torch.dtype) -> np.ndarray:
    dtype = of.dtype if isinstance(of, torch.Tensor) else of
    return np.array(str(dtype).removeprefix("torch."))


# Comparison.

# |given − wanted| ≤ tolerance · max(1, max |wanted|), of a variance ≤ tolerance · |wanted|.
# Rounding in float32 and another order of the sums stay below; mistakes of the catalogue differ by
# ten times as much on at least one case.
TOLERANCE = {F64: 1e-5, F32: 1e-4}
LOOSE = {"share": 0.05, "variance": 0.08, "mean": 0.03}  # of random numbers


def differences(name: str, case: Case, given: Answers, wanted: Answers) -> list[str]:
    """The keys of ``wanted`` whose answers are missing or differ, in their order.

    Where NaN is wanted, which is a mistake's answer, ∞ is as good. An optional case to which there
    are no answers has no differences.
    """
    if case.optional and not given:
        return []
    return [
        key
        for key, right in wanted.items()
        if key not in given
        or not _same(given[key], right, _tolerance(key, case), not key.startswith("variance"))
    ]


def _tolerance(key: str, case: Case) -> float:
    loose = [t for begin, t in LOOSE.items() if key.startswith(begin)]
    return loose[0] if loose else TOLERANCE[case.dtype]


def _same(given: np.ndarray, wanted: np.ndarray, tolerance: float, least: float) -> bool:
    if given.shape != wanted.shape:
        return False
    if wanted.dtype.kind not in "fiu" or given.dtype.kind not in "fiu":
        return bool((given == wanted).all())
    a, b = given.astype(np.float64), wanted.astype(np.float64)
    lost, finite = np.isnan(b), np.isfinite(b)
    infinite = ~lost & ~finite
    if np.isfinite(a[lost]).any() or (a[infinite] != b[infinite]).any():
        return False
    if not np.isfinite(a[finite]).all():
        return False
    largest = np.abs(b[finite]).max(initial=least)
    return bool((np.abs(a[finite] - b[finite]) <= tolerance * largest).all())
