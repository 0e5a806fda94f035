"""What ``torch.autocast`` asks of an operation: which dtype to compute in.

Matrix products take the lower precision, losses take float32, and all else keeps what it is given.
The casts lie outside of the operations, so that a gradient comes back in its tensor's own dtype.
"""

import torch


def lowered(*tensors: torch.Tensor | None) -> list[torch.Tensor | None]:
    """The tensors in autocast's lower precision where it is on; float64 and None as they are."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    wide = (torch.float32, torch.float16, torch.bfloat16)
    return [t.to(dtype) if t is not None and t.dtype in wide else t for t in tensors]


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32 where autocast is on and it is of lower precision."""
    low = tensor.dtype in (torch.float16, torch.bfloat16)
    return tensor.float() if low and torch.is_autocast_enabled(tensor.device.type) else tensor
