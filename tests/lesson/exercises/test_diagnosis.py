"""Mistakes are named; other errors are placed by the tags of the cases."""

import pytest
import torch
from torch.nn import functional as F

from lecture4.lesson.exercises import diagnosis
from lecture4.lesson.exercises.cases import CASES
from lecture4.lesson.exercises.catalogue import MISTAKES
from lecture4.lesson.exercises.catalogue.descent import updates
from lecture4.lesson.exercises.catalogue.mistake import with_backward
from lecture4.lesson.exercises.child import outcome_here
from lecture4.lesson.exercises.verdict import judge
from lecture4.training.formulas import read


def verdict(name, call):
    return judge(name, "torch", (name,), outcome_here(name, call))


@pytest.mark.parametrize("of", dict.fromkeys(m.of for m in MISTAKES))
def test_every_mistake_is_named_as_itself(of):
    for mistake in (m for m in MISTAKES if m.of == of):
        found = verdict(of, mistake.call)
        assert found.status == "wrong"
        assert mistake.name in found.mistakes
        assert mistake.hint in found.remark


def test_two_mistakes_in_one_function_are_both_named():
    def conv2d(input, weight, bias=None, stride=1, padding=0):
        return F.conv2d(input, weight, None, stride, padding)

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, s, y):
            p = s.exp() / s.exp().sum(1, keepdim=True)
            ctx.save_for_backward(p, y)
            return -p[torch.arange(len(y)), y].log().mean()

        @staticmethod
        def backward(ctx, dl):
            p, y = ctx.saved_tensors
            return dl * (p - F.one_hot(y, p.shape[1])), None

    assert verdict("conv2d", conv2d).mistakes == ("conv_without_bias",)
    found = verdict("cross_entropy", lambda input, target: Twice.apply(input, target))
    assert "gradient_not_divided_by_n" in found.mistakes
    assert "An exponential overflows" in found.remark
    assert " And: " in found.remark


def test_a_mistake_is_named_beside_overflows():
    def kl_divergence(p, q):
        return (q * (q / p).log()).sum(-1)  # NaN for outcomes of probability 0

    found = verdict("kl_divergence", kl_divergence)
    assert "The two distributions have each other's role." in found.remark


def without_square(w, g, state, group):
    beta1, beta2 = group["betas"]
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g  # may be negative
    w -= group["lr"] * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + group["eps"])


def through_its_value(forward, backward):
    return lambda x, p, training: with_backward(
        forward(x, p) if training else x.detach(), (x,), lambda d: backward(d) if training else d
    )


NOT_NAMED = {
    "NaN of another kind": ("Adam", updates("Adam", "")(without_square).call),
    "small variance": ("he", lambda w: torch.randn_like(w) * (2 / w.numel()) ** 0.5),
    "no mask": ("dropout", through_its_value(lambda x, p: x / (1 - p), lambda d: 2 * d)),
    "gradient apart from the value": (
        "kl_divergence",
        lambda p, q: with_backward(-(p * q.log()).sum(-1) + 1, (p, q), lambda d: (p, q)),
    ),
}


@pytest.mark.parametrize("name", NOT_NAMED)
def test_what_is_no_mistake_of_the_catalogue_is_not_named(name):
    found = verdict(*NOT_NAMED[name])
    assert (found.status, found.mistakes) == ("wrong", ())


def test_cases_that_do_not_ask_for_a_gradient_are_not_said_to_be_right():
    found = verdict("leaky_relu", lambda x, a=0.01: F.leaky_relu(x, a) + (x - x.detach()) / 7)
    assert found.remark == "right except the gradient of x."


def test_course_style_has_the_diagnoses_of_running_statistics(written):
    text = """
def batchnorm_forward(x, gamma, beta, bn_param):
    m, training = bn_param["momentum"], bn_param["mode"] == "train"
    running = bn_param["running_mean"], bn_param["running_var"]
    mean, var = (x.mean(0), x.var(0)) if training else running
    if training:
        KEEP
    scale = (var + bn_param["eps"]) ** -0.5
    return gamma * (x - mean) * scale + beta, ((x - mean) * scale, gamma, scale)
def batchnorm_backward(dout, cache):
    x_hat, gamma, scale = cache
    dx = dout - dout.mean(0) - x_hat * (dout * x_hat).mean(0)
    return gamma * scale * dx, (dout * x_hat).sum(0), dout.sum(0)
"""
    keeping = 'bn_param["running_{0}"] = {1} * bn_param["running_{0}"] + {2} * {0}; '
    for share, of_batch, mistakes in (
        ("m", "(1 - m)", ()),
        ("(1 - m)", "m", ("momentum_the_wrong_way_round",)),
        ("1", "0", ("running_statistics_not_updated",)),
    ):
        keep = "".join(keeping.format(s, share, of_batch) for s in ("mean", "var"))
        entry = read(written(text.replace("KEEP", keep))).entries["batch_norm"]
        assert verdict("batch_norm", entry.call).mistakes == mistakes


def test_a_gradient_that_follows_from_an_overflow_is_not_described():
    def cross_entropy(s, y):
        p = s.exp() / s.exp().sum(1, keepdim=True)
        loss = -p[torch.arange(len(y)), y].log().mean()
        right = torch.nan_to_num(p.detach()) - F.one_hot(y, s.shape[1])
        return with_backward(loss, (s,), lambda d: d * right / len(y))

    assert "the gradient" not in verdict("cross_entropy", cross_entropy).remark


def only(condition, wrong, right):
    return lambda input, *rest, **options: (wrong if condition(input, rest) else right)(
        input, *rest, **options
    )


def off(input, weight, bias=None, stride=1, padding=0):
    return F.conv2d(input, weight, bias, stride, padding) * 1.25


def test_what_a_mistake_does_not_explain_is_described():
    def batch_norm(x, mean, var, weight, bias, training, momentum, eps):
        return F.batch_norm(x, None, None, weight, bias, True, eps=eps) + bias.detach()

    found = verdict("batch_norm", batch_norm)
    assert found.mistakes
    assert found.remark.split(" And: ")[-1].startswith("the value: wrong in every case")


PLACES = {
    "stride": (
        "conv2d",
        only(lambda x, rest: rest[2] > 1, off, F.conv2d),
        "right only for stride 1",
    ),
    "float32": (
        "tanh",
        only(lambda x, rest: x.dtype == torch.float32, lambda x: x.tanh() + x.detach() / 9, F.tanh),
        "right for float64, wrong for float32",
    ),
    "training": (
        "batch_norm",
        only(
            lambda x, rest: rest[4],
            lambda x, m, v, w, b, t, c, e: F.batch_norm(x, m, v, w, b, t, c, e) + b.detach()[0],
            F.batch_norm,
        ),
        "right for evaluation, wrong for training",
    ),
    "factor": ("linear", lambda x, w, b=None: 3 * F.linear(x, w, b), "3 times the right one"),
    "batch": (
        "batch_norm",
        lambda x, m, v, w, b, t, c, e: F.batch_norm(
            x, m, v, w, b / len(x) + (1 - 1 / len(x)) * b.detach(), t, c, e
        ),
        "1/N times the right one, for a batch of N",
    ),
    "channel": (
        "batch_norm",
        lambda x, m, v, w, b, t, c, e: F.batch_norm(
            x, m, v, w, b.detach() + (b - b.detach()) * b.numel() / x.numel(), t, c, e
        ),
        "1/N times the right one, for N numbers in a channel",
    ),
    "NaN": ("relu", lambda input: (input.exp() + 1).log() * 0 + input.clamp(min=0), "NaN or ∞"),
    "shape": (
        "linear",
        lambda x, w, b=None: F.linear(x, w, b)[..., None],
        "shape 4×3×1 instead of shape 4×3",
    ),
    "dtype": (
        "sigmoid",
        lambda input: input.float().sigmoid(),
        "the dtype: right for float32, wrong for float64: float32 instead of float64",
    ),
    "bias": (
        "linear",
        lambda x, w, b: F.linear(x, w, 1.5 * b - 0.5 * b.detach()),
        "right except the gradient of bias: 1.5 times the right one",
    ),
    "changed": (
        "softmax",
        lambda input, dim=1: (F.softmax(input, dim), input.data.add_(1))[0],
        "right except its argument x, which it changes",
    ),
    "steps": (
        "SGD",
        lambda params, momentum=0, **more: torch.optim.SGD(params, momentum=momentum**2, **more),
        "the weights: right except for",
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_where_answers_are_right_and_wrong(name):
    of, call, text = PLACES[name]
    found = verdict(of, call)
    assert found.status == "wrong"
    assert not found.mistakes
    assert text in found.remark


def test_places_by_tags():
    tags = [case.tags for case in CASES["conv2d"]]
    every = range(len(tags))

    def where(condition):
        wrong = frozenset(i for i in every if condition(tags[i]))
        return diagnosis.where("conv2d", wrong, every)

    assert where(lambda t: True) == ""
    assert where(lambda t: "batch of 1" in t) == "right except for batch of 1"
    assert where(lambda t: "batch of 1" not in t) == "right only for batch of 1"
    both = where(lambda t: "stride 2" in t and "padding 0" in t)
    assert both == "right except for stride 2 with padding 0"
    assert where(lambda t: t in (tags[0], tags[3])).startswith("wrong in 2 of ")
