"""Mistakes in activation functions and their derivatives."""

import torch

from lecture4.byhand.functional import gelu, leaky_relu, relu, sigmoid, silu, tanh
from lecture4.lesson.exercises.catalogue.mistake import mistake, with_backward


@mistake("relu", "The mask of the backward pass is computed from the wrong tensor.")
def relu_mask_of_the_gradient(input):
    """∂L/∂x = ∂L/∂y where ∂L/∂y > 0, in place of where x > 0."""
    return with_backward(relu(input), (input,), lambda dy: dy * (dy > 0))


@mistake("relu", "The backward pass treats ReLU as if it were the identity.")
def relu_without_mask(input):
    """∂L/∂x = ∂L/∂y everywhere."""
    return with_backward(relu(input), (input,), lambda dy: dy)


@mistake("relu", "The gradient is multiplied by the output, not by the derivative.")
def relu_gradient_times_the_output(input):
    """∂L/∂x = ∂L/∂y max(0, x)."""
    y = relu(input)
    return with_backward(y, (input,), lambda dy: dy * y)


@mistake("relu", "The gradient that arrives from the next layer is not used.")
def relu_mask_alone(input):
    """∂L/∂x = 1 where x > 0, without ∂L/∂y."""
    return with_backward(relu(input), (input,), lambda dy: (input > 0).to(dy.dtype))


@mistake("relu", "The function changes the array that it is given.")
def relu_in_place(input):
    """Set the negative numbers of x itself to 0."""
    input[input < 0] = 0
    return input


@mistake("relu", "Negative inputs are not cut off.", alone=True)
def relu_of_the_absolute_value(input):
    """Return |x|."""
    return input.abs()


@mistake("leaky_relu", "The backward pass is that of another activation function.")
def slope_left_out_of_the_backward(input, negative_slope=0.01):
    """∂L/∂x = 0 where x < 0, as for ReLU."""
    y = leaky_relu(input, negative_slope)
    return with_backward(y, (input,), lambda dy: dy * (input > 0))


@mistake("leaky_relu", "The slope is a constant, and the argument is not used.", alone=True)
def slope_ignored(input, negative_slope=0.01):
    """α = 0.01, whatever is asked for."""
    return leaky_relu(input, 0.01)


@mistake("leaky_relu", "The slope is applied on the wrong side of 0.", alone=True)
def slope_of_positive_numbers(input, negative_slope=0.01):
    """α x where x > 0, and x elsewhere."""
    return torch.where(input > 0, negative_slope * input, input)


@mistake("sigmoid", "The derivative is evaluated at the output, where the input is meant.")
def sigmoid_derivative_of_the_output(input):
    """∂L/∂x = ∂L/∂y σ′(y)."""
    y = sigmoid(input)
    return with_backward(y, (input,), lambda dy: dy * sigmoid(y) * (1 - sigmoid(y)))


@mistake("sigmoid", "The derivative is written in terms of the output, but takes the input.")
def sigmoid_derivative_of_the_input(input):
    """∂L/∂x = ∂L/∂y x (1 − x)."""
    return with_backward(sigmoid(input), (input,), lambda dy: dy * input * (1 - input))


@mistake("sigmoid", "A factor of the derivative is missing.")
def sigmoid_derivative_with_one_factor(input):
    """∂L/∂x = ∂L/∂y σ(x)."""
    y = sigmoid(input)
    return with_backward(y, (input,), lambda dy: dy * y)


@mistake("sigmoid", "The gradient that arrives from the next layer is not used.")
def sigmoid_derivative_alone(input):
    """∂L/∂x = σ′(x), without ∂L/∂y."""
    y = sigmoid(input)
    return with_backward(y, (input,), lambda dy: y * (1 - y))


@mistake("sigmoid", "An exponential overflows for large scores.", alone=True)
def sigmoid_overflows(input):
    """eˣ / (1 + eˣ), which is ∞/∞ for large x."""
    return input.exp() / (1 + input.exp())


@mistake("tanh", "A power is missing in the derivative.")
def tanh_derivative_without_square(input):
    """∂L/∂x = ∂L/∂y (1 − tanh x)."""
    y = tanh(input)
    return with_backward(y, (input,), lambda dy: dy * (1 - y))


@mistake("tanh", "The derivative is written in terms of the output, but takes the input.")
def tanh_derivative_of_the_input(input):
    """∂L/∂x = ∂L/∂y (1 − x²)."""
    return with_backward(tanh(input), (input,), lambda dy: dy * (1 - input * input))


@mistake("tanh", "The derivative is evaluated at the output, where the input is meant.")
def tanh_derivative_of_the_output(input):
    """∂L/∂x = ∂L/∂y tanh′(y)."""
    y = tanh(input)
    return with_backward(y, (input,), lambda dy: dy * (1 - tanh(y) ** 2))


@mistake("tanh", "The gradient that arrives from the next layer is not used.")
def tanh_derivative_alone(input):
    """∂L/∂x = 1 − tanh² x, without ∂L/∂y."""
    y = tanh(input)
    return with_backward(y, (input,), lambda dy: 1 - y * y)


@mistake("tanh", "The derivative is that of the sigmoid.")
def tanh_derivative_of_the_sigmoid(input):
    """∂L/∂x = ∂L/∂y y (1 − y)."""
    y = tanh(input)
    return with_backward(y, (input,), lambda dy: dy * y * (1 - y))


@mistake("tanh", "An exponential overflows for large scores.", alone=True)
def tanh_overflows(input):
    """(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ), which is ∞/∞ for large |x|."""
    return (input.exp() - (-input).exp()) / (input.exp() + (-input).exp())


@mistake("gelu", "The derivative of a product has another term.")
def gelu_without_the_product_rule(input):
    """∂L/∂x = ∂L/∂y Φ(x)."""
    cumulative = torch.erfc(-input / 2**0.5) / 2
    return with_backward(gelu(input), (input,), lambda dy: dy * cumulative)


@mistake("silu", "The derivative of a product has another term.")
def silu_without_the_product_rule(input):
    """∂L/∂x = ∂L/∂y σ(x)."""
    return with_backward(silu(input), (input,), lambda dy: dy * sigmoid(input))
