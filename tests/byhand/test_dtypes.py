"""Functions × dtypes against torch: the same result and gradients, or both refuse."""

import re
import warnings

import pytest
import torch
from against_torch import randn, torchs
from torch import nn
from torch.nn import functional as torch_functional

from lecture4.byhand import functional as F
from lecture4.byhand import optim
from lecture4.byhand.functional._torch_options import FLOATS, INTEGERS, REALS, takes
from lecture4.byhand.init import initialize_
from lecture4.byhand.numerical import gradient, relative_error, slope

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")

COMPLEX = (torch.complex32, torch.complex64, torch.complex128)
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
DTYPES = (*REALS, *COMPLEX, *FLOAT8)
NEAR = {torch.float16: 5e-3, torch.bfloat16: 4e-2, torch.float32: 1e-5, torch.float64: 1e-12}
CLASSES = torch.tensor([0, 1, 2, 3])
CALLS = {  # the shapes of the tensors, and the other arguments
    "linear": ([(4, 5), (3, 5), (3,)], {}),
    "flatten": ([(2, 3, 4)], {"start_dim": 1}),
    "relu": ([(20,)], {}),
    "leaky_relu": ([(20,)], {}),
    "sigmoid": ([(20,)], {}),
    "tanh": ([(20,)], {}),
    "gelu": ([(20,)], {}),
    "silu": ([(20,)], {}),
    "softmax": ([(4, 5)], {"dim": 1}),
    "log_softmax": ([(4, 5)], {"dim": 1}),
    "cross_entropy": ([(4, 5)], {"target": CLASSES}),
    "cross_entropy of probabilities": ([(4, 5), (4, 5)], {}),
    "nll_loss": ([(4, 5)], {"target": CLASSES}),
    "conv2d": ([(2, 3, 6, 6), (4, 3, 3, 3), (4,)], {}),
    "max_pool2d": ([(2, 3, 6, 6)], {"kernel_size": 3, "stride": 2, "padding": 1}),
    "avg_pool2d": ([(2, 3, 6, 6)], {"kernel_size": 2}),
    "batch_norm": ([(8, 3)], {"running_mean": None, "running_var": None, "training": True}),
    "dropout": ([(20,)], {"p": 0.3}),
}


def of_dtype(dtype, *shape, seed=0):
    """Whole numbers from 0 to 6, or normal numbers, in the dtype."""
    if dtype.is_floating_point or dtype.is_complex:
        return randn(*shape, seed=seed).to(dtype)
    return (randn(*shape, seed=seed).abs() * 3).clamp(max=6).to(dtype)


def run(function, tensors, options):
    """Output and gradients; None if the function refuses."""
    wants = [t.dtype.is_floating_point or t.dtype.is_complex for t in tensors]
    own = [t.clone().requires_grad_(want) for t, want in zip(tensors, wants, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        y = function(*own, **options)
        if not y.requires_grad:
            return [y]
        wanted = [t for t in own if t.requires_grad]
        return [y.detach(), *torch.autograd.grad(y, wanted, torch.ones_like(y))]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_every_dtype_gives_torchs_result_or_is_refused_by_name(call, dtype):
    name, (shapes, options) = call.split()[0], CALLS[call]
    tensors = [of_dtype(dtype, *shape, seed=i) for i, shape in enumerate(shapes)]
    try:
        theirs = run(torchs(name), tensors, options)
    except (RuntimeError, TypeError):
        theirs = None
    if name != "flatten" and (theirs is None or dtype in (*COMPLEX, *FLOAT8)):
        with pytest.raises(ValueError, match=rf"^{name} .*{dtype}"):
            run(getattr(F, name), tensors, options)
        return
    for a, b in zip(run(getattr(F, name), tensors, options), theirs, strict=True):
        assert a.dtype == b.dtype
        if b.dtype in NEAR:
            torch.testing.assert_close(a, b, rtol=NEAR[b.dtype], atol=NEAR[b.dtype])
        else:
            assert torch.equal(a.view(torch.uint8), b.view(torch.uint8))


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_labels_and_class_weights_of_every_dtype(name, dtype):
    s = randn(4, 5).float()
    for options in ({"target": CLASSES.to(dtype)}, {"weight": torch.ones(5).to(dtype)}):
        options = {"target": CLASSES, **options}
        try:
            theirs = getattr(torch_functional, name)(s, **options)
        except (RuntimeError, IndexError):
            with pytest.raises(ValueError, match=f"^{name} .*{dtype}"):
                getattr(F, name)(s, **options)
        else:
            torch.testing.assert_close(getattr(F, name)(s, **options), theirs)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_class_156_in_uint8_is_not_the_ignored_index(name):
    s, target = randn(2, 200), torch.tensor([156, 3], dtype=torch.uint8)  # −100 + 256
    ours, theirs = (getattr(f, name)(s, target) for f in (F, torch_functional))
    torch.testing.assert_close(ours, theirs)


def test_means_of_int64_round_towards_zero_and_stay_exact():
    for numbers in ([-3, -4, -1, -1], [2**60, 2**60, 2**60, 2**60 - 1]):
        x = torch.tensor(numbers).view(1, 1, 2, 2)
        assert torch.equal(F.avg_pool2d(x, 2), torch_functional.avg_pool2d(x, 2))


PAIRS = [(a, b) for a in FLOATS for b in FLOATS]


@pytest.mark.parametrize(("dtype", "other"), PAIRS, ids=str)
def test_mixed_dtypes_give_torchs_result_or_are_refused(dtype, other):
    x, v = randn(8, 3).to(dtype), randn(3).abs().to(other)
    calls = {
        "linear": lambda f: f.linear(x, v.view(1, 3)),
        "conv2d": lambda f: f.conv2d(x.view(1, 2, 3, 4), v[:2].view(1, 2, 1, 1)),
        "batch_norm": lambda f: f.batch_norm(x, None, None, v, v, training=True),
        "batch_norm in evaluation": lambda f: f.batch_norm(x, v, v),
        "cross_entropy": lambda f: f.cross_entropy(x, CLASSES.repeat(2) % 3, v),
        "cross_entropy of probabilities": lambda f: f.cross_entropy(x, randn(8, 3).abs().to(other)),
        "nll_loss": lambda f: f.nll_loss(x, CLASSES.repeat(2) % 3, v),
    }
    for name, call in calls.items():
        try:
            theirs = call(torch_functional)
        except RuntimeError:
            with pytest.raises(ValueError, match=rf"^{name.split()[0]} takes .*{other}"):
                call(F)
        else:
            near = max(NEAR[dtype], NEAR[other])
            torch.testing.assert_close(call(F), theirs, rtol=near, atol=near)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_dtype_argument_of_a_softmax(dtype):
    for name in ("softmax", "log_softmax"):
        x = of_dtype(dtype, 4, 5)
        for options in ({"dtype": torch.float64}, {"dtype": torch.int64}):
            wrong = dtype in (*COMPLEX, *FLOAT8) or options["dtype"] == torch.int64
            if wrong:
                with pytest.raises(ValueError, match=f"^{name} takes"):
                    getattr(F, name)(x, 1, **options)
            else:
                ours, theirs = (getattr(f, name)(x, 1, **options) for f in (F, torch_functional))
                torch.testing.assert_close(ours, theirs)


OWN = {
    "entropy": lambda t: F.entropy(t.view(4, 5)),
    "cross_entropy": lambda t: F.cross_entropy_of(t, t),
    "kl_divergence": lambda t: F.kl_divergence(t, t),
    "l1_penalty": lambda t: F.l1_penalty([t]),
    "l2_penalty": lambda t: F.l2_penalty([t]),
    "gradient": lambda t: gradient(torch.sum, t, h=2.0),
    "slope": lambda t: slope(torch.sum, t, t, h=2.0),
    "RandomSearch": lambda t: optim.RandomSearch([t], lr=1),
    "RandomLocalSearch": lambda t: optim.RandomLocalSearch([t], lr=1),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", OWN)
def test_what_torch_does_not_have_takes_floats(name, dtype):
    t = torch.ones(20).to(dtype)
    if dtype in FLOATS:
        OWN[name](t)
        return
    with pytest.raises(ValueError, match=re.escape(str(dtype))) as caught:
        OWN[name](t)
    assert name in str(caught.value)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_an_optimizer_updates_floats_alone(name, dtype):
    weights = [torch.ones(3), torch.ones(3).to(dtype)]
    for w in weights:
        w.grad = w.clone()
    optimizer = getattr(optim, name)(weights, lr=0.1)
    if dtype in FLOATS:
        optimizer.step()
        return
    with pytest.raises(ValueError, match=f"an optimizer by hand takes parameters .*{dtype}"):
        optimizer.step()
    assert weights[0].tolist() == [1, 1, 1]  # no parameter is updated before the refusal


def test_an_initialiser_refuses_complex_weights_and_skips_empty_ones():
    with pytest.raises(ValueError, match="initialize_ takes weight .*complex64"):
        initialize_(nn.Linear(2, 2, dtype=torch.complex64), "he")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of a tensor without numbers
        layer = nn.Linear(0, 3)
    initialize_(layer, "he")
    assert layer.bias.tolist() == [0, 0, 0]


def test_differences_of_bytes_and_halves_do_not_wrap_or_overflow():
    a, b = torch.tensor([1], dtype=torch.uint8), torch.tensor([2], dtype=torch.uint8)
    assert relative_error(a, b) == 0.5
    x = torch.tensor([65504.0]).half()
    assert relative_error(x, -x) == 2


@pytest.mark.parametrize("x", [torch.ones(3).half(), torch.full((3,), 1e12).double()], ids=str)
def test_a_step_that_rounding_swallows_is_refused(x):
    for call in (lambda: gradient(torch.sum, x), lambda: slope(torch.sum, x, torch.ones_like(x))):
        with pytest.raises(ValueError, match="h=1e-05 is lost in rounding"):
            call()


def test_takes_names_what_is_no_dense_tensor():
    operation = takes(x=INTEGERS)(lambda x=None: x)
    assert operation() is None
    for wrong, kind in (([1], "list"), (1.0, "float")):
        with pytest.raises(TypeError, match=f"takes x as a tensor, not {kind}"):
            operation(wrong)
    with pytest.raises(ValueError, match="dense tensor, not torch.sparse_coo"):
        operation(x=torch.ones(2, 2, dtype=torch.int64).to_sparse())
