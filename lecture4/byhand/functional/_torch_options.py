"""Compatibility with torch: the options, dtypes and targets that its functions accept.

Nothing here belongs to the lecture; its formulas are in the files beside this one.
"""

import inspect
import warnings
from collections.abc import Callable
from functools import wraps

import torch

HALVES = (torch.float16, torch.bfloat16)


def supports_only(**supported: object) -> Callable:
    """Decorate a function or class: refuse values of torch's options that are not supported.

    ``@supports_only(groups=1)`` accepts one value, ``@supports_only(fused=(None, False))`` two. The
    decorated function keeps its signature.

    Raises:
        ValueError: when called with another value; names the option and the value.
    """
    accepted = {k: v if isinstance(v, tuple) else (v,) for k, v in supported.items()}

    def decorate(function: Callable) -> Callable:
        if isinstance(function, type):
            init = checking(function.__init__, function.__name__)  # type: ignore[misc]
            function.__init__ = init  # type: ignore[misc]
            return function
        return checking(function, function.__name__)

    def checking(function: Callable, operation: str) -> Callable:
        places = {name: i for i, name in enumerate(inspect.signature(function).parameters)}

        @wraps(function)
        def checked(*args, **kwargs):
            for name, values in accepted.items():
                place = places[name]
                given = args[place] if place < len(args) else kwargs.get(name, values[0])
                if given not in values:
                    raise unsupported(operation, name, given)
            return function(*args, **kwargs)

        return checked

    return decorate


def unsupported(operation: str, name: str, value: object) -> ValueError:
    """The error for an option of torch's that ``operation`` does not support."""
    return ValueError(f"{operation} by hand does not support {name}={value!r}; leave {name} out")


def checks_values(tensor: torch.Tensor) -> bool:
    """Whether to check the numbers in a tensor, not only its shape: on the CPU alone, as in torch.

    Elsewhere every such check would wait for the device, and on ``meta`` there are no numbers.
    """
    return tensor.device.type == "cpu"


def found(condition: torch.Tensor) -> bool:
    """Whether ``condition`` is true anywhere, of a check of values; False where none are made."""
    return checks_values(condition) and bool(condition.any())


def to_autocast(input: torch.Tensor, *others: torch.Tensor | None) -> list[torch.Tensor | None]:
    """The factors of a matrix product in the precision of ``torch.autocast``; float64 stays.

    The cast lies outside of the operation, so a gradient returns in its tensor's own dtype.

    Raises:
        ValueError: the tensors differ in dtype.
    """
    tensors, device = [input, *others], input.device.type
    if _autocasts(device):
        dtype = torch.get_autocast_dtype(device)
        wide = (torch.float32, *HALVES)
        tensors = [t.to(dtype) if t is not None and t.dtype in wide else t for t in tensors]
    dtypes = [str(t.dtype) for t in tensors if t is not None]
    if len(set(dtypes)) > 1:
        raise ValueError(f"input, weight and bias must be of one dtype, not {', '.join(dtypes)}")
    return tensors


def to_float32(tensor: torch.Tensor) -> torch.Tensor:
    """The input of a loss: float16 and bfloat16 become float32 under ``torch.autocast``."""
    low = tensor.dtype in HALVES
    return tensor.float() if low and _autocasts(tensor.device.type) else tensor


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """float16 and bfloat16 become float32, for sums in which rounding errors would add up."""
    return tensor.float() if tensor.dtype in HALVES else tensor


def _autocasts(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def softmax_input(input: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """Scores in the dtype to compute in; on a GPU autocast computes a softmax in float32."""
    if dtype is not None:
        return input.to(dtype)
    return input if input.device.type == "cpu" else to_float32(input)


def implicit_dim(operation: str, input: torch.Tensor) -> int:
    """The dimension that torch's softmax takes when none is given, with a warning as torch's."""
    dim = 0 if input.ndim in (0, 1, 3) else 1
    warnings.warn(f"{operation} without dim is deprecated; pass dim={dim}", stacklevel=3)
    return dim


def class_dim(scores: torch.Tensor) -> int:
    """The dimension of the classes: 0 of (K,), 1 of (N, K, ...)."""
    return min(scores.ndim, 2) - 1


def holds_probabilities(target: torch.Tensor, scores: torch.Tensor) -> bool:
    """Whether a target gives a probability for each class, rather than a class index."""
    return scores.ndim > 0 and target.is_floating_point() and target.shape == scores.shape


def class_indices(
    operation: str, scores: torch.Tensor, target: torch.Tensor, ignore_index: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Check a target of class indices.

    Returns:
        The indices (N, ...), 0 where they are to be ignored, and whether each one counts.

    Raises:
        ValueError: the target is not of whole numbers, one for each set of scores.
        IndexError: an index is out of range.
    """
    dim = class_dim(scores)
    shape = scores.shape[:dim] + scores.shape[dim + 1 :]
    if scores.ndim == 0 or target.shape != shape or target.is_floating_point():
        soft = operation == "cross_entropy"
        probabilities = ", or probabilities of the shape of the scores" if soft else ""
        raise ValueError(
            f"{operation} of scores {tuple(scores.shape)} takes whole numbers of shape "
            f"{tuple(shape)}, the class indices{probabilities}, not {target.dtype} of shape "
            f"{tuple(target.shape)}"
        )
    counted, classes = target != ignore_index, scores.shape[dim]
    wrong = counted & ((target < 0) | (target >= classes))
    if found(wrong):
        raise IndexError(
            f"target {target[wrong][0].item()} is not a class; with {classes} classes it must lie "
            f"between 0 and {classes - 1}"
        )
    return torch.where(counted, target, 0).long(), counted


def check_class_weights(operation: str, weight: torch.Tensor, scores: torch.Tensor) -> None:
    """Check the weight of each class.

    Raises:
        ValueError: the weight is not of shape (K,), or requires a gradient.
    """
    classes = scores.shape[class_dim(scores)] if scores.ndim else 0
    if weight.shape != (classes,):
        raise ValueError(
            f"{operation} of scores {tuple(scores.shape)} takes a weight of shape "
            f"({classes},), not {tuple(weight.shape)}"
        )
    if weight.requires_grad:
        raise ValueError(f"{operation} has no gradient for weight; pass weight.detach()")
