"""Formulas as text and in LaTeX, and which formula a function computes."""

import pytest
from latex2mathml.converter import convert

from lecture4.lesson.exercises.typeset import COURSE, FORMULAS, formula_of


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_is_a_short_line_and_latex(name):
    text, latex = FORMULAS[name]
    assert len(text) <= 60
    assert "<math" in convert(latex)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("relu", "relu"),
        ("relu_forward", "relu"),
        ("conv_backward_naive", "conv2d"),
        ("affine_forward", "linear"),
        ("softmax_loss", "cross_entropy"),
        ("spatial_batchnorm_backward", "batch_norm"),
        ("sgd_momentum", "SGD"),
        ("helper", None),
        ("_relu", None),
        ("forward", None),
    ],
)
def test_the_formula_of_a_name(name, formula):
    assert formula_of(name) == formula


def test_names_of_courses_lead_to_formulas():
    assert set(COURSE.values()) <= set(FORMULAS)
