"""Mistakes in the variance of initial weights."""

import math

from lecture4.lesson.exercises.catalogue.mistake import mistake


def _fans(weight):
    """fan_in and fan_out of (K, D) or (O, C, F_h, F_w)."""
    cells = weight[0, 0].numel()
    return weight.shape[1] * cells, weight.shape[0] * cells


@mistake("he", "The variance is taken for the standard deviation.")
def he_without_root(weight, gain=2**0.5):
    """std = gain²/fan_in."""
    return weight.normal_(0, gain**2 / _fans(weight)[0])


@mistake("he", "The standard deviation shrinks too fast with fan_in.")
def he_divided_by_fan_in(weight, gain=2**0.5):
    """std = gain/fan_in."""
    return weight.normal_(0, gain / _fans(weight)[0])


@mistake("he", "The weights are scaled by the number of outputs.")
def he_with_fan_out(weight, gain=2**0.5):
    """std = gain/√fan_out."""
    return weight.normal_(0, gain / math.sqrt(_fans(weight)[1]))


@mistake("he", "The variance does not account for the inputs that ReLU sets to 0.")
def he_without_the_two(weight, gain=1.0):
    """Var[w] = 1/fan_in unless a gain is given."""
    return weight.normal_(0, gain / math.sqrt(_fans(weight)[0]))


@mistake("he", "The number of terms in a sum is more than the number of channels.")
def he_without_the_cells(weight, gain=2**0.5):
    """fan_in = C, without F_h F_w."""
    return weight.normal_(0, gain / math.sqrt(weight.shape[1]))


@mistake("he", "The weights do not have mean 0.")
def he_not_centred(weight, gain=2**0.5):
    """Uniform from 0 on, with the right variance."""
    return weight.uniform_(0, gain * math.sqrt(12 / _fans(weight)[0]))


@mistake("he", "The bound of a uniform distribution is taken for its standard deviation.")
def he_uniform_within_one_deviation(weight, gain=2**0.5):
    """Uniform between ± gain/√fan_in, whose variance is a third of that."""
    bound = gain / math.sqrt(_fans(weight)[0])
    return weight.uniform_(-bound, bound)


@mistake("xavier", "The variance depends on fan_in alone.")
def xavier_with_fan_in_alone(weight, gain=1.0):
    """Var[w] = 1/fan_in."""
    return weight.normal_(0, gain / math.sqrt(_fans(weight)[0]))


@mistake("xavier", "The two fans are summed where their mean is meant.")
def xavier_without_the_two(weight, gain=1.0):
    """Var[w] = 1/(fan_in + fan_out)."""
    return weight.normal_(0, gain / math.sqrt(sum(_fans(weight))))


@mistake("xavier", "The variance is taken for the standard deviation.")
def xavier_without_root(weight, gain=1.0):
    """std = 2/(fan_in + fan_out)."""
    return weight.normal_(0, gain**2 * 2 / sum(_fans(weight)))


@mistake("xavier", "The bound of a uniform distribution is taken for its standard deviation.")
def xavier_uniform_within_one_deviation(weight, gain=1.0):
    """Uniform between ± √(2/(fan_in + fan_out)), whose variance is a third of that."""
    bound = gain * math.sqrt(2 / sum(_fans(weight)))
    return weight.uniform_(-bound, bound)


@mistake("xavier", "The number of terms in a sum is more than the number of channels.")
def xavier_without_the_cells(weight, gain=1.0):
    """fan_in = C and fan_out = O, without F_h F_w."""
    return weight.normal_(0, gain * math.sqrt(2 / (weight.shape[0] + weight.shape[1])))
