"""The lecture's formulas."""

from lecture4.ops.convolution import output_size

__all__ = ["output_size"]
