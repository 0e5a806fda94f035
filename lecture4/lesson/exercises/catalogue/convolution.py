"""Mistakes in convolution, and in the number of positions of a window."""

import torch
from torch.nn.functional import pad, unfold

from lecture4.byhand.functional import conv2d, output_size
from lecture4.byhand.functional.windows import Windows
from lecture4.lesson.exercises.catalogue.mistake import mistake, with_backward


@mistake("conv2d", "The numbers of the filter meet the pixels in reverse order.", alone=True)
def flipped_kernel(input, weight, bias=None, stride=1, padding=0):
    """Convolve with the kernel turned by 180°, as signal processing defines convolution.

    A net that learns its kernels can learn them turned; weights of another program do not fit.
    """
    return conv2d(input, weight.flip(2, 3), bias, stride, padding)


@mistake("conv2d", "Rows and columns of a square filter are exchanged.", alone=True)
def transposed_kernel(input, weight, bias=None, stride=1, padding=0):
    """Exchange height and width of a square filter."""
    square = weight.shape[2] == weight.shape[3]
    return conv2d(input, weight.transpose(2, 3) if square else weight, bias, stride, padding)


@mistake("conv2d", "The bias has no effect on the maps.", alone=True)
def conv_without_bias(input, weight, bias=None, stride=1, padding=0):
    """Leave out + b."""
    return conv2d(input, weight, None, stride, padding)


@mistake("conv2d", "The bias enters a map more than once at each position.", alone=True)
def bias_added_for_each_pixel(input, weight, bias=None, stride=1, padding=0):
    """Add b inside of the sum: C F_h F_w times."""
    bias = None if bias is None else bias * weight[0].numel()
    return conv2d(input, weight, bias, stride, padding)


@mistake("conv2d", "Only a part of the input's depth is used.", alone=True)
def first_channel_alone(input, weight, bias=None, stride=1, padding=0):
    """Sum over the filter's cells in one channel."""
    return conv2d(input[:, :1], weight[:, :1], bias, stride, padding)


@mistake("conv2d", "The sum over the channels is divided by their number.", alone=True)
def mean_over_the_channels(input, weight, bias=None, stride=1, padding=0):
    """The mean over C in place of the sum."""
    return conv2d(input, weight / input.shape[1], bias, stride, padding)


@mistake("conv2d", "The maps have the size that a stride of 1 gives.")
def conv_stride_ignored(input, weight, bias=None, stride=1, padding=0):
    """S = 1."""
    return conv2d(input, weight, bias, 1, padding)


@mistake(
    "conv2d", "The maps have the right size, but the windows do not lie S pixels apart.", alone=True
)
def windows_one_pixel_apart(input, weight, bias=None, stride=1, padding=0):
    """The window of position (i, j) begins at pixel (i, j) in place of (S i, S j)."""
    z = conv2d(input, weight, bias, 1, padding)
    height, width = _windows(input, weight, stride, padding).size
    return z[:, :, :height, :width]


@mistake("conv2d", "The border is not padded.")
def conv_padding_ignored(input, weight, bias=None, stride=1, padding=0):
    """P = 0."""
    return conv2d(input, weight, bias, stride, 0)


@mistake("conv2d", "The border is padded with other numbers than zeros.", alone=True)
def padded_with_the_border(input, weight, bias=None, stride=1, padding=0):
    """Repeat the pixels of the border."""
    padded = pad(input, [padding] * 4, mode="replicate") if padding else input
    return conv2d(padded, weight, bias, stride)


@mistake("conv2d", "Zeros are added on two of the four sides.", alone=True)
def padded_on_one_side(input, weight, bias=None, stride=1, padding=0):
    """Pad twice as much at the right and the bottom, and nothing at the left and the top."""
    return conv2d(pad(input, (0, 2 * padding, 0, 2 * padding)), weight, bias, stride)


@mistake("conv2d", "Height and width of the maps come from one side of the image.")
def one_side_for_both(input, weight, bias=None, stride=1, padding=0):
    """W′ = H′: right for square images alone."""
    z = conv2d(input, weight, bias, stride, padding)
    height, width = z.shape[2:]
    return pad(z, (0, height - width))  # a negative number cuts off


def _backward(input, weight, bias, stride, padding, **wrong):
    """The convolution, with one of the three gradients replaced.

    Args:
        input: x; the others likewise.
        weight: w.
        bias: b.
        stride: S.
        padding: P.
        wrong: ``dx``, ``dweight`` or ``dbias``, a function of ∂L/∂z.
    """
    z = conv2d(input, weight, bias, stride, padding)

    def right(dz):
        with torch.enable_grad():
            inputs = [t.detach().requires_grad_() for t in (input, weight, bias) if t is not None]
            z = conv2d(*inputs, stride=stride, padding=padding)
            gradients = torch.autograd.grad(z, inputs, dz)
        return dict(zip(("dx", "dweight", "dbias"), (*gradients, None), strict=False))

    def backward(dz):
        return tuple((right(dz) | {name: f(dz) for name, f in wrong.items()}).values())

    return with_backward(z, (input, weight, bias), backward)


def _windows(input, weight, stride, padding):
    return Windows.over(input.shape[2:], weight.shape[2:], stride, padding)


@mistake("conv2d", "The gradient of x is that of the padded image, cut at the wrong place.")
def padding_forgotten_in_the_backward(input, weight, bias=None, stride=1, padding=0):
    """∂L/∂x is the first H×W pixels of the padded gradient, P pixels from where they belong."""

    def dx(dz):
        windows, (height, width) = _windows(input, weight, stride, padding), input.shape[2:]
        return _col2im(dz, weight, windows)[:, :, :height, :width]

    return _backward(input, weight, bias, stride, padding, dx=dx)


@mistake("conv2d", "A pixel keeps the gradient of a single window, though several contain it.")
def windows_that_overwrite(input, weight, bias=None, stride=1, padding=0):
    """Assign ∂L/∂x (=) instead of adding to it (+=), window by window: the last one wins."""

    def dx(dz):
        windows, (f, g) = _windows(input, weight, stride, padding), weight.shape[2:]
        dx = windows.zeros(input)
        for i in range(dz.shape[2]):
            for j in range(dz.shape[3]):
                patch = torch.einsum("no,ocae->ncae", dz[:, :, i, j], weight)
                dx[:, :, stride * i : stride * i + f, stride * j : stride * j + g] = patch
        return windows.cropped(dx)

    return _backward(input, weight, bias, stride, padding, dx=dx)


@mistake("conv2d", "A pixel keeps the gradient of a single filter, though all are laid over it.")
def filters_that_overwrite(input, weight, bias=None, stride=1, padding=0):
    """Assign ∂L/∂x (=) for each filter and window: the last window of the last filter wins."""

    def dx(dz):
        windows, (f, g) = _windows(input, weight, stride, padding), weight.shape[2:]
        dx = windows.zeros(input)
        for i in range(dz.shape[2]):
            for j in range(dz.shape[3]):
                patch = dz[:, -1, i, j, None, None, None] * weight[-1]
                dx[:, :, stride * i : stride * i + f, stride * j : stride * j + g] = patch
        return windows.cropped(dx)

    return _backward(input, weight, bias, stride, padding, dx=dx)


@mistake("conv2d", "A pixel keeps the gradient of a single window, though several contain it.")
def cells_that_overwrite(input, weight, bias=None, stride=1, padding=0):
    """Assign ∂L/∂x (=) instead of adding to it (+=), cell by cell: the last one wins."""

    def dx(dz):
        windows = _windows(input, weight, stride, padding)
        dx = windows.zeros(input)
        for a, e, pixels in windows.cells():
            dx[pixels] = torch.einsum("noij,oc->ncij", dz, weight[:, :, a, e])
        return windows.cropped(dx)

    return _backward(input, weight, bias, stride, padding, dx=dx)


def _col2im(dz, weight, windows):
    """∂L/∂x of the padded image."""
    dx = windows.zeros(dz[:, :1].expand(-1, weight.shape[1], -1, -1))
    for a, e, pixels in windows.cells():
        dx[pixels] += torch.einsum("noij,oc->ncij", dz, weight[:, :, a, e])
    return dx


@mistake("conv2d", "The filter lies the other way round in the gradient of x.")
def flipped_kernel_in_the_backward(input, weight, bias=None, stride=1, padding=0):
    """∂L/∂x with the filters turned by 180°."""

    def dx(dz):
        windows = _windows(input, weight, stride, padding)
        return windows.cropped(_col2im(dz, weight.flip(2, 3), windows))

    return _backward(input, weight, bias, stride, padding, dx=dx)


@mistake("conv2d", "The windows of the backward pass lie elsewhere than those of the forward pass.")
def stride_forgotten_in_the_backward(input, weight, bias=None, stride=1, padding=0):
    """∂L/∂x with the windows one pixel apart."""

    def dx(dz):
        apart = torch.zeros_like(conv2d(input, weight, None, 1, padding))
        apart[:, :, : dz.shape[2], : dz.shape[3]] = dz
        windows = _windows(input, weight, 1, padding)
        return windows.cropped(_col2im(apart, weight, windows))

    return _backward(input, weight, bias, stride, padding, dx=dx)


@mistake("conv2d", "The gradient of the filters contains one window's share.")
def filter_gradient_of_the_last_window(input, weight, bias=None, stride=1, padding=0):
    """Assign ∂L/∂W (=) instead of adding to it (+=) at each position."""

    def dweight(dz):
        columns = unfold(input, weight.shape[2:], padding=padding, stride=stride)
        return (dz[:, :, -1, -1].T @ columns[:, :, -1]).view_as(weight)

    return _backward(input, weight, bias, stride, padding, dweight=dweight)


@mistake("conv2d", "The gradient of the filters contains one window's share.")
def filter_gradient_of_the_last_example(input, weight, bias=None, stride=1, padding=0):
    """Assign ∂L/∂W (=) instead of adding to it (+=) at each position of each example."""

    def dweight(dz):
        columns = unfold(input[-1:], weight.shape[2:], padding=padding, stride=stride)
        return (dz[-1:, :, -1, -1].T @ columns[:, :, -1]).view_as(weight)

    return _backward(input, weight, bias, stride, padding, dweight=dweight)


@mistake("conv2d", "The batch size divides the gradient of the filters, as the loss does already.")
def filter_gradient_divided_by_n(input, weight, bias=None, stride=1, padding=0):
    """∂L/∂W divided by N again."""

    def dweight(dz):
        columns = unfold(input, weight.shape[2:], padding=padding, stride=stride)
        return torch.einsum("nop,ndp->od", dz.flatten(2), columns).view_as(weight) / len(dz)

    return _backward(input, weight, bias, stride, padding, dweight=dweight)


@mistake("conv2d", "Every position uses the same b, but its gradient is that of an average one.")
def conv_bias_gradient_averaged(input, weight, bias=None, stride=1, padding=0):
    """∂L/∂b as the mean over examples and positions in place of the sum."""
    if bias is None:
        return conv2d(input, weight, bias, stride, padding)
    return _backward(input, weight, bias, stride, padding, dbias=lambda dz: dz.mean((0, 2, 3)))


@mistake("conv2d", "The batch size divides the gradient of the bias, as the loss does already.")
def conv_bias_gradient_divided_by_n(input, weight, bias=None, stride=1, padding=0):
    """∂L/∂b divided by N again."""
    if bias is None:
        return conv2d(input, weight, bias, stride, padding)

    def dbias(dz):
        return dz.sum((0, 2, 3)) / len(dz)

    return _backward(input, weight, bias, stride, padding, dbias=dbias)


@mistake("conv2d", "The last position of the filter is missing, at the right and at the bottom.")
def last_position_missing(input, weight, bias=None, stride=1, padding=0):
    """H′ = (H + 2P − F)/S, without + 1."""
    return conv2d(input, weight, bias, stride, padding)[:, :, :-1, :-1]


@mistake("output_size", "The count of steps is taken for the count of positions.")
def one_position_missing(n, kernel_size, stride=1, padding=0):
    """(N + 2P − F)/S, without + 1."""
    return output_size(n, kernel_size, stride, padding) - 1


@mistake("output_size", "The padding is counted on one border.")
def padding_counted_once(n, kernel_size, stride=1, padding=0):
    """(N + P − F)/S + 1."""
    return (n + padding - kernel_size) // stride + 1


@mistake("output_size", "A window that does not fit is counted.")
def size_rounded_up(n, kernel_size, stride=1, padding=0):
    """⌈(N + 2P − F)/S⌉ + 1."""
    return -(-(n + 2 * padding - kernel_size) // stride) + 1


@mistake("output_size", "The result is not a whole number.")
def size_not_rounded(n, kernel_size, stride=1, padding=0):
    """(N + 2P − F)/S + 1, with a fraction."""
    return (n + 2 * padding - kernel_size) / stride + 1


@mistake("output_size", "The windows are counted as if they were one pixel apart.")
def size_without_stride(n, kernel_size, stride=1, padding=0):
    """N + 2P − F + 1."""
    return output_size(n, kernel_size, 1, padding)
