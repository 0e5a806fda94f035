import ast
import inspect
from pathlib import Path

import pytest
import torch
from against_torch import assert_same, compare, leaf, randn, torchs
from torch.nn import functional as F

from lecture4.byhand import functional as byhand

REQUIRED = inspect.Parameter.empty
BUILTIN = {  # as torch's documentation has them: they have no signature to inspect
    "linear": {"input": REQUIRED, "weight": REQUIRED, "bias": None},
    "flatten": {"input": REQUIRED, "start_dim": 0, "end_dim": -1},
    "gelu": {"input": REQUIRED, "approximate": "none"},
    "silu": {"input": REQUIRED, "inplace": False},
    "conv2d": {
        "input": REQUIRED,
        "weight": REQUIRED,
        "bias": None,
        "stride": 1,
        "padding": 0,
        "dilation": 1,
        "groups": 1,
    },
    "avg_pool2d": {
        "input": REQUIRED,
        "kernel_size": REQUIRED,
        "stride": None,
        "padding": 0,
        "ceil_mode": False,
        "count_include_pad": True,
        "divisor_override": None,
    },
}
TWINS = [
    "relu", "leaky_relu", "sigmoid", "tanh", "softmax", "log_softmax", "cross_entropy",
    "nll_loss", "max_pool2d", "batch_norm", "dropout",
]  # fmt: skip
OTHERS = [
    "entropy", "cross_entropy_of", "kl_divergence", "output_size", "l1_penalty", "l2_penalty",
]  # fmt: skip
SOURCES = sorted(Path(byhand.__file__).parent.glob("*.py"))


def defaults(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


@pytest.mark.parametrize("name", TWINS)
def test_the_signature_is_torchs(name):
    twin = F.max_pool2d_with_indices if name == "max_pool2d" else getattr(F, name)
    expected = defaults(twin)
    expected.pop("_stacklevel", None)
    ours = defaults(getattr(byhand, name))
    assert list(ours) == list(expected)
    assert ours == expected


@pytest.mark.parametrize("name", BUILTIN)
def test_the_signature_is_the_one_that_torch_documents(name):
    ours = defaults(getattr(byhand, name))
    assert list(ours) == list(BUILTIN[name])
    assert ours == BUILTIN[name]


@pytest.mark.parametrize("name", BUILTIN)
def test_torch_knows_the_documented_names(name):
    inputs = {
        "linear": [randn(2, 3), randn(4, 3)],
        "conv2d": [randn(1, 2, 4, 4), randn(3, 2, 2, 2)],
        "avg_pool2d": [randn(1, 4, 4), 2],
    }.get(name, [randn(2, 3)])
    given = dict(zip(BUILTIN[name], inputs, strict=False))
    options = {key: value for key, value in BUILTIN[name].items() if value is not REQUIRED}
    with_defaults = torchs(name)(**options | given)
    assert torch.equal(torchs(name)(**given), with_defaults)
    assert_same(getattr(byhand, name)(**options | given), with_defaults)


def test_every_operation_is_compared():
    assert {*TWINS, *BUILTIN, *OTHERS} == set(byhand.__all__)


EMPTY = {
    "linear": ([(0, 5), (3, 5), (3,)], {}),
    "flatten": ([(0, 3, 4)], {"start_dim": 1}),
    "relu": ([(0, 3)], {}),
    "leaky_relu": ([(0, 3)], {}),
    "sigmoid": ([(0, 3)], {}),
    "tanh": ([(0, 3)], {}),
    "gelu": ([(0, 3)], {}),
    "silu": ([(0, 3)], {}),
    "softmax": ([(0, 3)], {"dim": 1}),
    "log_softmax": ([(0, 3)], {"dim": 1}),
    "conv2d": ([(0, 3, 6, 6), (4, 3, 3, 3), (4,)], {"padding": 1}),
    "max_pool2d": ([(0, 3, 6, 6)], {"kernel_size": 2, "padding": 1}),
    "avg_pool2d": ([(0, 3, 6, 6)], {"kernel_size": 2, "padding": 1}),
    "dropout": ([(0, 3)], {}),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_batch_gives_torchs_shapes_and_gradients(name):
    shapes, options = EMPTY[name]
    ours, _ = compare(name, *[randn(*shape) for shape in shapes], **options)
    assert len(ours) == 0


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_the_loss_of_an_empty_batch_and_its_gradient_are_torchs(name, reduction):
    compare(name, randn(0, 3), torch.zeros(0, dtype=torch.int64), reduction=reduction)
    compare(name, randn(0, 3, 2), torch.zeros(0, 2, dtype=torch.int64), reduction=reduction)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_the_loss_of_an_empty_batch_of_probabilities_is_torchs(reduction):
    compare("cross_entropy", randn(0, 3), randn(0, 3), reduction=reduction)


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_normalized_has_torchs_gradients(training):
    pair = [
        lambda x, w, b, f=f: f(x, torch.zeros(3).double(), torch.ones(3).double(), w, b, training)
        for f in (byhand.batch_norm, F.batch_norm)
    ]
    for shape in ((0, 3), (0, 3, 4, 4)):
        compare(tuple(pair), randn(*shape), randn(3), randn(3))


CALLS = {
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
    "conv2d": ([(2, 3, 6, 6), (4, 3, 3, 3), (4,)], {}),
    "max_pool2d": ([(2, 3, 6, 6)], {"kernel_size": 2}),
    "avg_pool2d": ([(2, 3, 6, 6)], {"kernel_size": 2}),
    "batch_norm": ([(8, 3)], {"running_mean": None, "running_var": None, "training": True}),
    "dropout": ([(20,)], {"p": 0.3}),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_gradient_is_kept_where_none_is_wanted(name):
    shapes, options = CALLS[name]
    inputs = [randn(*shape) for shape in shapes]
    assert getattr(byhand, name)(*inputs, **options).grad_fn is None
    with torch.no_grad():
        assert getattr(byhand, name)(*[leaf(t) for t in inputs], **options).grad_fn is None
    assert getattr(byhand, name)(*[leaf(t) for t in inputs], **options).grad_fn is not None


@pytest.mark.parametrize("name", CALLS)
def test_the_backward_pass_is_by_hand(name):
    shapes, options = CALLS[name]
    y = getattr(byhand, name)(*[leaf(randn(*shape)) for shape in shapes], **options)
    assert y.grad_fn._forward_cls.__module__.startswith("lecture4.byhand.functional.")
    behind = {type(f).__name__ for f, _ in y.grad_fn.next_functions if f is not None}
    assert behind == {"AccumulateGrad"}


ALLOWED = {"torch.nn.functional.pad"}
FORBIDDEN_METHODS = {
    "softmax", "log_softmax", "relu", "relu_", "sigmoid", "sigmoid_", "dropout", "backward",
    "logsumexp", "logaddexp", "xlogy", "entr", "var", "var_mean", "std", "softplus", "logsigmoid",
    "kl_div", "log_sigmoid", "hardtanh",
}  # fmt: skip
FORBIDDEN_OF_TORCH = {
    *TWINS, *BUILTIN, "nn", "autograd", "enable_grad", "addmm", "native_batch_norm", "logsumexp",
    "conv1d", "conv3d", "convolution", "prelu", "special", "distributions", "func", "ops",
    "layer_norm", "native_dropout",
}  # fmt: skip


def dotted(node):
    """torch.nn.functional of an attribute of an attribute of a name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "…"


def imported(tree):
    """What a module imports, by full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def borrowed(source):
    """Everything in the source that torch could compute the operation or its gradient with."""
    tree = ast.parse(source)
    for name in imported(tree):
        known = name in ("torch", "torch.autograd.Function") or name in ALLOWED
        if name.startswith("torch") and not known:
            yield name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = dotted(node)
            if name.startswith("torch.") and name.split(".")[1] in FORBIDDEN_OF_TORCH - {"tanh"}:
                yield name
            if node.attr in FORBIDDEN_METHODS and name != "ctx.backward":
                yield name
            if name.startswith("F."):
                yield name
        if isinstance(node, ast.Name) and node.id in ("enable_grad", "autograd", "functional"):
            yield node.id


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_operation_borrows_from_its_twin_or_autograd(path):
    assert list(borrowed(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "from torch.nn import functional as F",
        "from torch.nn.functional import relu",
        "import torch.nn.functional",
        "from torch.autograd import grad",
        "import torch\ntorch.conv2d(x, w)",
        "import torch\ntorch.nn.functional.relu(x)",
        "import torch\ntorch.autograd.grad(y, x)",
        "import torch\nwith torch.enable_grad(): pass",
        "F.pad(x)",
        "x.softmax(1)",
        "(x + 1).log_softmax(1)",
        "x.relu()",
        "x[0].sigmoid()",
        "torch.relu(x)",
        "loss.backward()",
    ],
)
def test_what_is_borrowed_is_found(source):
    assert list(borrowed(source))


def test_every_operation_comes_from_a_source_that_is_read():
    functions = [inspect.unwrap(getattr(byhand, name)) for name in byhand.__all__]
    assert {Path(inspect.getsourcefile(function)) for function in functions} <= set(SOURCES)
