import inspect

import pytest
import torch
from against_torch import gradients, leaf, randint, randn, torchs
from torch.nn import functional as F

from lecture4.byhand import functional as byhand
from lecture4.byhand.functional._torch_options import supports_only, to_autocast, to_float32

LOW, FULL, EXACT = torch.bfloat16, torch.float32, torch.float64
CALLS = {
    "linear": ([randn(4, 5), randn(3, 5, seed=1), randn(3, seed=2)], {}),
    "linear without bias": ([randn(4, 5), randn(3, 5, seed=1)], {}),
    "flatten": ([randn(2, 3, 4)], {"start_dim": 1}),
    "relu": ([randn(20)], {}),
    "leaky_relu": ([randn(20)], {}),
    "sigmoid": ([randn(20)], {}),
    "tanh": ([randn(20)], {}),
    "gelu": ([randn(20)], {}),
    "silu": ([randn(20)], {}),
    "softmax": ([randn(4, 5)], {"dim": 1}),
    "log_softmax": ([randn(4, 5)], {"dim": 1}),
    "cross_entropy": ([randn(4, 5), randint(5, 4)], {}),
    "cross_entropy of probabilities": ([randn(4, 5), randn(4, 5, seed=1).softmax(1)], {}),
    "cross_entropy smoothed": ([randn(4, 5), randint(5, 4)], {"label_smoothing": 0.1}),
    "nll_loss": ([randn(4, 5).log_softmax(1), randint(5, 4)], {}),
    "conv2d": ([randn(2, 3, 6, 6), randn(4, 3, 3, 3, seed=1), randn(4, seed=2)], {"padding": 1}),
    "conv2d without bias": ([randn(2, 3, 6, 6), randn(4, 3, 3, 3, seed=1)], {}),
    "conv2d of one image": ([randn(3, 6, 6), randn(4, 3, 3, 3, seed=1)], {}),
    "max_pool2d": ([randn(2, 3, 6, 6)], {"kernel_size": 2}),
    "avg_pool2d": ([randn(2, 3, 6, 6)], {"kernel_size": 2}),
    "batch_norm": (
        [randn(8, 3), torch.zeros(3), torch.ones(3), randn(3, seed=1), randn(3, seed=2)],
        {"training": True},
    ),
    "dropout": ([randn(20)], {"p": 0.3}),
}


def run(operation, call, dtype, autocast):
    """Output and gradients in a dtype; under autocast the parameters of batch_norm are float32."""
    arguments, options = CALLS[call]
    inputs = [t.to(dtype) if t.is_floating_point() else t for t in arguments]
    if call == "batch_norm":
        full = FULL if autocast else dtype
        inputs[1:] = [t.to(full).clone() for t in arguments[1:]]
    frozen = (1, 2) if call == "batch_norm" else ()
    inputs = [
        leaf(t) if t.is_floating_point() and i not in frozen else t for i, t in enumerate(inputs)
    ]
    with torch.random.fork_rng(), torch.autocast("cpu", LOW, enabled=autocast):
        torch.manual_seed(0)
        y = operation(*inputs, **options)
    return y, gradients(y, inputs), [t for t in inputs if t.requires_grad]


@pytest.mark.parametrize("dtype", [LOW, FULL], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("call", CALLS)
def test_autocast_gives_torchs_dtypes_and_nearly_its_numbers(call, dtype):
    name = call.split()[0]
    ours, d_ours, wanted = run(getattr(byhand, name), call, dtype, autocast=True)
    theirs, d_theirs, _ = run(torchs(name), call, dtype, autocast=True)
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)
    assert [d.dtype for d in d_ours] == [t.dtype for t in wanted]
    for a, b in zip(d_ours, d_theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0.04, atol=0.04 * b.abs().max().item())


@pytest.mark.parametrize("dtype", [LOW, torch.float16, FULL, EXACT], ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_without_autocast_the_dtype_is_kept(call, dtype):
    name = call.split()[0]
    ours, d_ours, wanted = run(getattr(byhand, name), call, dtype, autocast=False)
    theirs, d_theirs, _ = run(torchs(name), call, dtype, autocast=False)
    assert ours.dtype == theirs.dtype == dtype
    near = {LOW: 0.03, torch.float16: 0.005, FULL: 1e-5, EXACT: 1e-12}[dtype]
    torch.testing.assert_close(ours, theirs, rtol=near, atol=near)
    assert [d.dtype for d in d_ours] == [t.dtype for t in wanted]
    for a, b in zip(d_ours, d_theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2 * near, atol=2 * near * b.abs().max().item())


@pytest.mark.parametrize("call", ["linear", "conv2d"])
def test_a_product_of_float64_stays_exact_under_autocast(call):
    ours, _, _ = run(getattr(byhand, call), call, EXACT, autocast=True)
    theirs, _, _ = run(torchs(call), call, EXACT, autocast=False)
    assert ours.dtype == EXACT
    assert (ours - theirs).abs().max() < 1e-12


@pytest.mark.parametrize("call", ["linear", "conv2d"])
def test_mixed_inputs_of_a_product_get_the_precision_of_autocast(call):
    (x, weight, bias), _ = CALLS[call]
    x, weight, bias = leaf(x.to(LOW)), leaf(weight.float()), leaf(bias.float())
    with torch.autocast("cpu", LOW):
        s = getattr(byhand, call)(x, weight, bias)
        assert s.dtype == torchs(call)(x, weight, bias).dtype == LOW
    s.float().sum().backward()
    assert (x.grad.dtype, weight.grad.dtype, bias.grad.dtype) == (LOW, FULL, FULL)


def test_a_net_under_autocast_has_nearly_its_gradients_without():
    parameters = [leaf(0.3 * randn(*shape).float()) for shape in ((4, 3, 3, 3), (4,), (5, 36))]
    found = []
    for enabled in (True, False):
        with torch.autocast("cpu", LOW, enabled=enabled):
            x = byhand.relu(byhand.conv2d(randn(8, 3, 6, 6).float(), *parameters[:2], padding=1))
            s = byhand.linear(byhand.flatten(byhand.max_pool2d(x, 2), 1), parameters[2])
            assert s.dtype == (LOW if enabled else FULL)
            loss = byhand.cross_entropy(s, randint(5, 8))
        assert loss.dtype == FULL
        found.append(torch.autograd.grad(loss, parameters))
    for lower, full in zip(*found, strict=True):
        assert lower.dtype == FULL
        assert (lower - full).abs().max() < 0.05 * full.abs().max()


def test_to_autocast_keeps_none_float64_and_whole_numbers():
    for tensor in (randn(2), randint(3, 2)):
        with torch.autocast("cpu", LOW):
            assert to_autocast("linear", tensor, None, tensor) == [tensor, None, tensor]


def test_to_autocast_takes_any_wider_float_to_the_precision_of_autocast():
    tensors = [randn(2).to(dtype) for dtype in (FULL, torch.float16, LOW)]
    for low in (torch.float16, LOW):
        with torch.autocast("cpu", low):
            assert [t.dtype for t in to_autocast("linear", *tensors)] == [low] * 3


def test_without_autocast_to_autocast_leaves_the_tensors_alone():
    tensor = randn(2).half()
    assert all(t is tensor for t in to_autocast("linear", tensor, tensor))


@pytest.mark.parametrize(
    "call",
    [
        lambda: byhand.linear(randn(2, 3).float(), randn(4, 3)),
        lambda: byhand.linear(randn(2, 3), randn(4, 3), randn(4).float()),
        lambda: byhand.conv2d(randn(1, 1, 3, 3), randn(1, 1, 2, 2), randn(1).float()),
    ],
)
def test_tensors_of_two_dtypes_are_refused(call):
    message = r"(linear|conv2d) takes tensors of one dtype, not torch\.float\d\d of input, "
    with pytest.raises(ValueError, match=message):
        call()


def test_shapes_alone_pass_through_on_the_meta_device():
    x = torch.empty(2, 3, 8, 8, device="meta")
    assert byhand.conv2d(x, torch.empty(4, 3, 3, 3, device="meta")).shape == (2, 4, 6, 6)
    assert byhand.linear(x, torch.empty(5, 8, device="meta")).shape == (2, 3, 8, 5)


@pytest.mark.parametrize("dtype", [LOW, torch.float16])
@pytest.mark.parametrize("k", [8, 16, 32])
def test_a_mean_of_many_numbers_is_as_near_as_torchs(dtype, k):
    x = 200 * torch.rand(2, 3, 32, 32).to(dtype)
    expected = F.avg_pool2d(x.double(), k)
    assert (byhand.avg_pool2d(x, k) - expected).abs().max() <= 0.005 * expected.max()


@pytest.mark.parametrize("dtype", [LOW, torch.float16])
def test_gradients_of_a_convolution_are_as_near_as_torchs(dtype):
    x, weight = randn(64, 8, 32, 32), randn(8, 8, 3, 3)
    errors = []
    for conv2d in (byhand.conv2d, F.conv2d):
        low = [t.to(dtype).requires_grad_() for t in (x, weight)]
        exact = [t.detach().double().requires_grad_() for t in low]
        conv2d(*low, padding=1).sum().backward()
        F.conv2d(*exact, padding=1).sum().backward()
        pairs = [(a.grad.double(), b.grad) for a, b in zip(low, exact, strict=True)]
        errors.append([((a - b).abs().max() / b.abs().max()).item() for a, b in pairs])
    assert all(ours <= 2 * torchs + 1e-3 for ours, torchs in zip(*errors, strict=True))


@pytest.mark.parametrize("dtype", [LOW, torch.float16])
def test_gelu_of_large_and_of_negative_numbers(dtype):
    x = torch.linspace(-4, 4, 101).to(dtype)
    near = {"rtol": 0.01, "atol": 1e-6}
    torch.testing.assert_close(byhand.gelu(x).double(), F.gelu(x.double()), **near)
    assert byhand.gelu(torch.tensor([40000.0]).to(dtype)).isfinite()


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [(LOW, FULL), (torch.float16, FULL), (FULL, FULL), (EXACT, EXACT), (torch.int64, torch.int64)],
    ids=str,
)
def test_to_float32_is_float32_at_least_where_autocast_is_on(dtype, wide):
    tensor = torch.ones(2, dtype=dtype)
    with torch.autocast("cpu", LOW):
        assert to_float32(tensor).dtype == wide
    assert to_float32(tensor) is tensor


@supports_only(inplace=False, fused=(None, False))
def operation(x, inplace=False, *, fused=None):
    return x


@supports_only(fused=(None, False))
class Operation:
    def __init__(self, x, fused=None):
        self.x = x


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: operation(1, True), "operation by hand does not support inplace=True"),
        (lambda: operation(1, inplace=True), "operation by hand does not support inplace=True"),
        (lambda: operation(1, inplace=None), "operation by hand does not support inplace=None"),
        (lambda: operation(1, fused="yes"), "operation by hand does not support fused='yes'"),
        (lambda: Operation(1, True), "Operation by hand does not support fused=True"),
        (lambda: Operation(x=1, fused=True), "Operation by hand does not support fused=True"),
    ],
)
def test_an_option_that_is_not_supported_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "; leave " in str(caught.value)


def test_supported_values_pass():
    assert operation(1) == operation(x=1) == operation(1, False, fused=False) == 1
    assert operation(1, fused=None) == Operation(1).x == Operation(x=1, fused=False).x == 1


def test_a_decorated_function_keeps_name_and_signature():
    assert operation.__name__ == "operation"
    assert str(inspect.signature(operation)) == "(x, inplace=False, *, fused=None)"
    assert str(inspect.signature(Operation)) == "(x, fused=None)"
    with pytest.raises(TypeError):
        operation()
