"""Which dtype to compute in: what ``torch.autocast`` asks for, and what a long sum needs.

Under autocast matrix products take the lower precision, losses take float32, and all else keeps
what it is given. These casts lie outside of the operations, so that a gradient comes back in its
tensor's own dtype.
"""

import torch

HALVES = (torch.float16, torch.bfloat16)


def lowered(*tensors: torch.Tensor | None) -> list[torch.Tensor | None]:
    """The tensors of a product, in autocast's lower precision where it is on; float64 stays.

    Raises:
        ValueError: they are not of one dtype.
    """
    device = tensors[0].device.type
    if _autocasts(device):
        dtype = torch.get_autocast_dtype(device)
        wide = (torch.float32, *HALVES)
        tensors = [t.to(dtype) if t is not None and t.dtype in wide else t for t in tensors]
    dtypes = [str(t.dtype) for t in tensors if t is not None]
    if len(set(dtypes)) > 1:
        raise ValueError(f"input, weight and bias must be of one dtype, not {', '.join(dtypes)}")
    return list(tensors)


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor of a loss, in float32 where autocast is on and it is of lower precision."""
    low = tensor.dtype in HALVES
    return tensor.float() if low and _autocasts(tensor.device.type) else tensor


def accumulating(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32 at least, for sums whose rounding would add up."""
    return tensor.float() if tensor.dtype in HALVES else tensor


def _autocasts(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
