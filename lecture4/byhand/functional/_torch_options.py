"""Compatibility with torch: the options, dtypes and targets that its functions accept.

Nothing here belongs to the lecture; its formulas are in the files beside this one.
"""

import inspect
import warnings
from collections.abc import Callable
from functools import reduce, wraps

import torch

HALVES = (torch.float16, torch.bfloat16)
FLOATS = (*HALVES, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
LABELS = (torch.int64, torch.uint8)
REALS = (*FLOATS, *INTEGERS, torch.bool, torch.uint16, torch.uint32, torch.uint64)


def takes(**dtypes: tuple[torch.dtype, ...]) -> Callable:
    """Decorate a function: refuse arguments that are not dense tensors of the dtypes it takes.

    ``@takes(input=FLOATS)`` checks one argument; those that are left out or None pass. The dtypes
    are those that torch's function of the same name takes, without complex numbers and float8.

    Raises:
        ValueError: when called with another tensor; names function, argument and dtype.
        TypeError: when called with something else than a tensor.
    """

    def decorate(function: Callable) -> Callable:
        places = list(inspect.signature(function).parameters)

        @wraps(function)
        def checked(*args, **kwargs):
            given = dict(zip(places, args, strict=False)) | kwargs
            for name, accepted in dtypes.items():
                if given.get(name) is not None:
                    check_tensor(function.__name__, name, given[name], accepted)
            return function(*args, **kwargs)

        return checked

    return decorate


def check_tensor(
    operation: str, name: str, given: object, dtypes: tuple[torch.dtype, ...] = FLOATS
) -> None:
    """Refuse an argument that is not a dense tensor of one of the dtypes, as ``takes`` does."""
    if not isinstance(given, torch.Tensor):
        raise TypeError(f"{operation} takes {name} as a tensor, not {type(given).__name__}")
    if given.dtype not in dtypes:
        raise ValueError(f"{operation} takes {name} of {_listed(dtypes)}, not {given.dtype}")
    if given.layout != torch.strided:
        raise ValueError(f"{operation} takes {name} as a dense tensor, not {given.layout}")


def check_same_dtype(operation: str, **tensors: torch.Tensor | None) -> None:
    """Refuse tensors whose dtypes differ, where torch's function does not convert them."""
    dtypes = {name: tensor.dtype for name, tensor in tensors.items() if tensor is not None}
    if len(set(dtypes.values())) > 1:
        given = ", ".join(f"{dtype} of {name}" for name, dtype in dtypes.items())
        raise ValueError(f"{operation} takes tensors of one dtype, not {given}")


def _listed(dtypes: tuple[torch.dtype, ...]) -> str:
    """torch.float32, torch.float64 -> float32 or float64."""
    *names, last = (str(dtype).removeprefix("torch.") for dtype in dtypes)
    return f"{', '.join(names)} or {last}"


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
        places = list(inspect.signature(function).parameters)

        @wraps(function)
        def checked(*args, **kwargs):
            given = dict(zip(places, args, strict=False)) | kwargs
            for name, values in accepted.items():
                if name in given and given[name] not in values:
                    raise unsupported(operation, name, given[name])
            return function(*args, **kwargs)

        return checked

    return decorate


def unsupported(operation: str, name: str, value: object) -> ValueError:
    """The error for an option of torch's that ``operation`` does not support."""
    return ValueError(f"{operation} by hand does not support {name}={value!r}; leave {name} out")


def checks_values(tensor: torch.Tensor) -> bool:
    """Whether to check the numbers in a tensor, not only its shape: on the CPU alone, as in torch.

    Elsewhere every such check would wait for the device, on ``meta`` there are no numbers, and
    ``torch.compile`` traces no decision that depends on one.
    """
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def found(condition: torch.Tensor) -> bool:
    """Whether ``condition`` is true anywhere, of a check of values; False where none are made."""
    return checks_values(condition) and bool(condition.any())


def masked(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """``values`` where the mask is 1 or NaN, and 0 where it is 0, also for a value of ∞ or NaN.

    On a CPU the product is several times as fast as ``torch.where``; it is returned if finite.
    """
    if checks_values(values):
        product = mask * values
        if product.detach().sum().isfinite():
            return product
    return torch.where(mask == 0, 0, values)


def to_autocast(
    operation: str, input: torch.Tensor, *others: torch.Tensor | None
) -> list[torch.Tensor | None]:
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
    check_same_dtype(operation, **dict(zip(("input", "weight", "bias"), tensors, strict=False)))
    return tensors


def to_float32(tensor: torch.Tensor) -> torch.Tensor:
    """The input of a loss: float16 and bfloat16 become float32 under ``torch.autocast``."""
    low = tensor.dtype in HALVES
    return tensor.float() if low and _autocasts(tensor.device.type) else tensor


def loss_dtype(*tensors: torch.Tensor) -> torch.dtype:
    """The dtype of a loss: that of the scores, or of probabilities in a wider one."""
    floats = [to_float32(tensor).dtype for tensor in tensors if tensor.dtype in FLOATS]
    return reduce(torch.promote_types, floats)


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """float16 and bfloat16 become float32, for sums in which rounding errors would add up."""
    return tensor.float() if tensor.dtype in HALVES else tensor


def _autocasts(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def softmax_input(operation: str, input: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """Scores in the dtype to compute in; on a GPU autocast computes a softmax in float32."""
    check_tensor(operation, "input", input, FLOATS if dtype is None else REALS)
    if dtype not in (None, *FLOATS):
        raise ValueError(f"{operation} takes dtype {_listed(FLOATS)}, not {dtype}")
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
    return scores.ndim > 0 and target.dtype in FLOATS and target.shape == scores.shape


def class_indices(
    operation: str, scores: torch.Tensor, target: torch.Tensor, ignore_index: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Check a target of class indices.

    Returns:
        The indices (N, ...), 0 where they are to be ignored, and whether each one counts.

    Raises:
        ValueError: the target is not of int64 or uint8, one number for each set of scores.
        IndexError: an index is out of range.
    """
    dim = class_dim(scores)
    shape = scores.shape[:dim] + scores.shape[dim + 1 :]
    if scores.ndim == 0 or target.shape != shape or target.dtype not in LABELS:
        soft = operation == "cross_entropy"
        probabilities = ", or probabilities of the shape of the scores" if soft else ""
        raise ValueError(
            f"{operation} of scores {tuple(scores.shape)} takes whole numbers of shape "
            f"{tuple(shape)} as target, the class indices in int64 or uint8{probabilities}, not "
            f"{target.dtype} of shape {tuple(target.shape)}"
        )
    target = target.long()  # to compare: -100 in uint8 is 156
    counted, classes = target != ignore_index, scores.shape[dim]
    wrong = counted & ((target < 0) | (target >= classes))
    if found(wrong):
        raise IndexError(
            f"target {target[wrong][0].item()} is not a class; with {classes} classes it must lie "
            f"between 0 and {classes - 1}"
        )
    return torch.where(counted, target, 0), counted


def check_classes(operation: str, scores: torch.Tensor, weight: torch.Tensor | None) -> None:
    """Check that there are classes, and the weight of each one.

    Raises:
        ValueError: there are none, or the weight is not of shape (K,) and of the scores' dtype, or
            it requires a gradient.
    """
    classes = scores.shape[class_dim(scores)] if scores.ndim else 0
    if scores.ndim and not classes:
        raise ValueError(f"{operation} needs a class at least, not scores {tuple(scores.shape)}")
    if weight is None:
        return
    check_same_dtype(operation, input=to_float32(scores), weight=to_float32(weight))
    if weight.shape != (classes,):
        raise ValueError(
            f"{operation} of scores {tuple(scores.shape)} takes a weight of shape "
            f"({classes},), not {tuple(weight.shape)}"
        )
    if weight.requires_grad:
        raise ValueError(f"{operation} has no gradient for weight; pass weight.detach()")
