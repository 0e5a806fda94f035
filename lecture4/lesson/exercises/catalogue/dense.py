"""Mistakes in the fully connected layer, and in stretching images into its inputs."""

from lecture4.byhand.functional import flatten, linear
from lecture4.lesson.exercises.catalogue.mistake import mistake, with_backward


@mistake("linear", "The bias has no effect on the scores.", alone=True)
def missing_bias(input, weight, bias=None):
    """Leave out + b: s = x Wᵀ. The loss may fall without it, but b gets no gradient."""
    return linear(input, weight)


@mistake("linear", "A score mixes the weights of several rows of a square W.", alone=True)
def transposed_weight(input, weight, bias=None):
    """Multiply by W instead of Wᵀ where W is square, so that all shapes fit.

    A random W is as random when transposed, so the net may learn as well.
    """
    return linear(input, weight.T if weight.shape[0] == weight.shape[1] else weight, bias)


@mistake("linear", "A number that is not finite enters the gradient of the bias.")
def gradient_that_is_no_number(input, weight, bias=None):
    """Return NaN from one backward: after one step the weights that it reaches are NaN."""
    scores = linear(input, weight, bias)

    def backward(ds):
        return ds @ weight, ds.T @ input, ds.sum(0) * float("nan")

    return with_backward(scores, (input, weight, bias), backward)


@mistake("linear", "The batch size divides the gradient of W, as the loss does already.")
def weight_gradient_divided_by_n(input, weight, bias=None):
    """∂L/∂W = (∂L/∂s)ᵀ x / N, where the loss contains the 1/N already."""
    scores = linear(input, weight, bias)

    def backward(ds):
        return ds @ weight, ds.T @ input / len(ds), ds.sum(0)

    return with_backward(scores, (input, weight, bias), backward)


@mistake("linear", "Every example uses the same b, but its gradient is that of an average example.")
def bias_gradient_averaged(input, weight, bias=None):
    """∂L/∂b as the mean over the examples in place of the sum."""
    scores = linear(input, weight, bias)

    def backward(ds):
        return ds @ weight, ds.T @ input, ds.mean(0)

    return with_backward(scores, (input, weight, bias), backward)


@mistake("linear", "The gradient of b does not depend on the gradient of the scores.")
def bias_gradient_without_chain_rule(input, weight, bias=None):
    """∂L/∂b = Σₙ ∂s/∂b = N, without ∂L/∂s."""
    scores = linear(input, weight, bias)

    def backward(ds):
        return ds @ weight, ds.T @ input, ds.new_full((len(weight),), len(ds))

    return with_backward(scores, (input, weight, bias), backward)


@mistake("linear", "The gradient of x runs through a square W in the wrong direction.")
def transposed_weight_in_the_backward(input, weight, bias=None):
    """∂L/∂x = ∂L/∂s Wᵀ where W is square."""
    scores = linear(input, weight, bias)
    square = weight.shape[0] == weight.shape[1]

    def backward(ds):
        return ds @ (weight.T if square else weight), ds.T @ input, ds.sum(0)

    return with_backward(scores, (input, weight, bias), backward)


@mistake("flatten", "The output does not depend on the input.", alone=True)
def scores_that_ignore_the_input(input, start_dim=0, end_dim=-1):
    """Lose the input: the lowest loss possible is the entropy of the labels, about ln K."""
    return 0 * flatten(input, start_dim, end_dim)


@mistake(
    "flatten", "The numbers of one channel are not next to each other in the output.", alone=True
)
def channels_last(input, start_dim=0, end_dim=-1):
    """Stretch images in the order (H, W, C), for which other weights are needed."""
    maps = input.ndim == 4 and (start_dim, end_dim) == (1, -1)
    return flatten(input.permute(0, 2, 3, 1) if maps else input, start_dim, end_dim)


@mistake("flatten", "The examples of the batch end up in one row.")
def batch_flattened(input, start_dim=0, end_dim=-1):
    """Stretch the whole batch into one row."""
    return flatten(input, 0, end_dim)
