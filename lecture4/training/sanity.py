"""Sanity checks before training: do loss, gradients, layers and optimizer compute what they should?

The checks take seconds and work on copies. They compare in float64, so that a difference is a
mistake and not rounding.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType

import torch
from pytorch_lightning.utilities import rank_zero_only
from rich.table import Table
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.byhand import optim
from lecture4.byhand.nn import with_layers
from lecture4.byhand.numerical import (
    GradientRow,
    gradient_table,
    parameter_gradients,
    relative_error,
)
from lecture4.support.console import make_console, make_table
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule
from lecture4.training.parameter_groups import weights

ROUNDING = 1e-9  # accepted relative error in float64
KINKS = 1e-4  # the same against finite differences, which may cross a kink of ReLU or max
LOSS_APART = 1.5  # nats: scores of variance σ² raise the loss by about σ²/2; He's have σ² ≈ 1


class SanityError(Exception):
    """A check failed; the message names it, the measured value, and the code to look at."""


@dataclass(frozen=True)
class Check:
    """A line of the report. ``passed`` is None if the check does not apply."""

    name: str
    measured: str
    expected: str
    passed: bool | None
    look_at: str


@dataclass
class Subject:
    """The classifier to check, and some of its training examples."""

    classifier: Classifier
    inputs: torch.Tensor  # raw, (N, ...)
    labels: torch.Tensor  # (N,)
    layers: ModuleType = byhand_nn  # to compare with torch's
    file: str = ""  # of formulas, if the run has one
    rounding: float = ROUNDING
    kinks: float = KINKS
    gradients: list[GradientRow] = field(default_factory=list)  # measured by a check

    def batch(self, n: int, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """``n`` preprocessed inputs in float64, and labels; cyclic beyond the last example."""
        preprocess = copy.deepcopy(self.classifier.preprocess).double()
        index = torch.arange(start, start + n) % len(self.labels)
        return preprocess(self.inputs[index]).double(), self.labels[index]

    def model(self) -> nn.Module:
        """A copy of the model in float64, in training mode."""
        return copy.deepcopy(self.classifier.model).double().train().requires_grad_()

    def comparable(self, model: nn.Module) -> nn.Module:
        """The model, without dropout if it is a file's, which may draw other masks than torch's."""
        return without_dropout(model) if self.file else model


@rank_zero_only
def check(classifier: Classifier, data: DataModule) -> None:
    """Run every check and print the report.

    Raises:
        SanityError: a check failed.
    """
    checks, gradients = run(classifier, data)
    console = make_console()
    if gradients:
        console.print(_gradient_table(gradients))
    console.print(_check_table(checks))
    if failed := [c for c in checks if c.passed is False]:
        first = failed[0]
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise SanityError(
            f"sanity check failed: {first.name}{others}: {first.measured}, expected "
            f"{first.expected}\nlook at {first.look_at}"
        )


def run(classifier: Classifier, data: DataModule) -> tuple[list[Check], list[GradientRow]]:
    """Run every check; return the report and the table of gradients."""
    index = data.sample(512, classifier.seed)
    subject = Subject(
        classifier, data.dataset.train_inputs[index], data.dataset.train_labels[index]
    )
    found = classifier.formulas
    if found.source:  # whose code may round to float32
        subject.layers, subject.file = found.nn, found.title
        subject.rounding, subject.kinks = 1e-6, 1e-3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(classifier.seed)
        checks = [_run_one(subject, *row) for row in CHECKS]
    return checks, subject.gradients


def _run_one(subject: Subject, name: str, measure: Callable, expected: str, look_at: str) -> Check:
    try:
        measured, passed = measure(subject)
    except Exception as error:  # an error fails the check
        text = str(error).strip().partition("\n")[0]
        measured, passed = f"{type(error).__name__}: {text}", False
    k = len(subject.classifier.class_names)
    expected = expected.format(k=k, log_k=math.log(k), apart=LOSS_APART, **vars(subject))
    places = {key: subject.file or f"lecture4/byhand/{key}" for key in ("functional", "optim")}
    return Check(name, measured, expected, passed, look_at.format(**places))


def loss_at_initialisation(subject: Subject) -> tuple[str, bool]:
    """Untrained scores give each class probability 1/K, so the loss is −log 1/K."""
    inputs, labels = subject.batch(512)
    model = without_dropout(subject.model())  # dropout raises the variance of the scores
    loss = subject.classifier.cross_entropy(model(inputs), labels).item()
    expected = math.log(len(subject.classifier.class_names))
    return f"{loss:.4f}", abs(loss - expected) <= LOSS_APART


def gradients_three_ways(subject: Subject) -> tuple[str, bool]:
    """Compare gradients by hand, by autograd and by finite differences."""
    model = subject.comparable(subject.model())
    subject.gradients = gradient_table(model, subject.batch(8), layers=subject.layers)
    autograd = _worst(row.autograd for row in subject.gradients)
    numerical = _worst(row.numerical for row in subject.gradients)
    passed = autograd <= subject.rounding and numerical <= subject.kinks
    return f"{autograd:.0e} autograd, {numerical:.0e} differences", passed


def same_as_other_layers(subject: Subject) -> tuple[str, bool]:
    """Compare the same net and weights with torch's layers and with layers by hand."""
    batch, model = subject.batch(8), subject.model()
    with torch.no_grad():
        for p in model.parameters():  # a missing bias would not show while biases are zero
            p += 0.1 * torch.randn_like(p)
    copies = with_layers(model, subject.layers), with_layers(model, nn)
    errors = []
    for training in (True, False):
        ours, theirs = (subject.comparable(m.train(training)) for m in copies)
        with torch.random.fork_rng(devices=[]):  # dropout draws the same mask for both
            scores = ours(batch[0])
        errors.append(relative_error(scores, theirs(batch[0])))
        a = parameter_gradients(ours, batch, subject.layers.CrossEntropyLoss())
        b = parameter_gradients(theirs, batch, nn.CrossEntropyLoss())
        errors += [relative_error(a[name], b[name]) for name in a]
    worst = _worst(errors)
    return f"{worst:.0e} apart", worst <= subject.rounding


def first_optimizer_steps(subject: Subject) -> tuple[str, bool | None]:
    """Compare the optimizer with its twin in torch or by hand, on the same gradients."""
    a, b = subject.model(), subject.model()
    optimizer = subject.classifier.make_optimizer(a)
    name = type(optimizer).__name__
    torchs = type(optimizer) is getattr(torch.optim, name, None)
    twin_kind = getattr(optim if torchs else torch.optim, name, None)
    if twin_kind is None or name == "Muon":  # torch's takes matrices alone
        return f"{name} has no twin", None
    settings = {k: v for k, v in subject.classifier.optimizer.keywords.items() if k != "fused"}
    twin = twin_kind(subject.classifier.groups(b), **settings)
    for group in (*optimizer.param_groups, *twin.param_groups):
        group["lr"] = 1.0  # a small lr would hide differences in the rounding of w − η g
    model, loss = subject.model(), subject.classifier.cross_entropy
    for step in range(3):
        gradients = parameter_gradients(model, subject.batch(8, start=8 * step), loss)
        for p, q, g in zip(a.parameters(), b.parameters(), gradients.values(), strict=True):
            p.grad, q.grad = (torch.empty_like(w).copy_(g) for w in (p, q))  # in w's layout
        optimizer.step()
        twin.step()
    worst = _worst(
        relative_error(*pair) for pair in zip(a.parameters(), b.parameters(), strict=True)
    )
    return f"{worst:.0e} apart", worst <= subject.rounding


def overfits_a_small_batch(subject: Subject) -> tuple[str, bool]:
    """A model that can learn fits 20 examples exactly."""
    model = without_dropout(copy.deepcopy(subject.classifier.model).train().requires_grad_())
    inputs, labels = subject.batch(20)
    inputs = inputs.to(next(model.parameters()).dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for steps in itertools.count():
        scores = model(inputs)
        accuracy = (scores.argmax(1) == labels).double().mean().item()
        if accuracy >= 0.99 or steps == 1000:
            return f"{accuracy:.0%} after {steps} steps of Adam", accuracy >= 0.99
        optimizer.zero_grad()
        subject.classifier.cross_entropy(scores, labels).backward()
        optimizer.step()


def loss_rises_with_the_penalty(subject: Subject) -> tuple[str, bool]:
    """L + λ R(W) rises for λ = 0, 1, 2."""
    classifier = copy.deepcopy(subject.classifier)
    classifier.model = subject.model()
    if classifier.penalty is None or not classifier.penalty(weights(classifier.model)):
        classifier.penalty = classifier.formulas.penalty("l2")
    inputs, labels = subject.batch(8)
    scores = classifier.model(inputs)
    objectives = []
    for strength in (0, 1, 2):
        classifier.penalty_strength = strength
        objectives.append(classifier.objective(scores, labels).item())
    rises = objectives[0] < objectives[1] < objectives[2]
    return " < ".join(f"{o:.4g}" for o in objectives) if rises else f"{objectives}", rises


def images_do_not_mix(subject: Subject) -> tuple[str, bool]:
    """In evaluation an image's scores do not depend on the rest of the batch."""
    model = subject.model().eval()
    a, b = subject.batch(8)[0], subject.batch(8, start=8)[0]
    with torch.no_grad():
        error = relative_error(model(torch.cat([a[:1], b[1:]]))[0], model(a)[0])
    return f"{error:.0e} apart", error <= subject.rounding


def without_dropout(model: nn.Module) -> nn.Module:
    """The model, in which dropout keeps every unit."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return model


def _worst(errors: Iterable[float]) -> float:
    """The maximum, or NaN if any is NaN, which Python's max may ignore."""
    return torch.tensor(list(errors)).max().item()


# name, function, expected value, code to look at if it fails
CHECKS = (
    (
        "loss at initialisation",
        loss_at_initialisation,
        "ln {k} = {log_k:.4f} ± {apart}",
        "model.init (too large?), preprocess, and along which dimension softmax sums",
    ),
    (
        "gradient by hand",
        gradients_three_ways,
        "≤ {rounding:.0e} autograd, ≤ {kinks:.0e} differences",
        "the parameters with a large error in the table: their layer's backward, and those after",
    ),
    (
        "torch's layers, same weights",
        same_as_other_layers,
        "scores and gradients ≤ {rounding:.0e} apart",
        "the forward and backward of the model's layers in {functional}",
    ),
    (
        "first optimizer steps",
        first_optimizer_steps,
        "weights ≤ {rounding:.0e} apart from the twin's",
        "the update in {optim}: momentum and decay, or Adam's bias correction",
    ),
    (
        "overfits 20 examples",
        overfits_a_small_batch,
        "≥ 99%, all of them",
        "the model: too small for these data, scores that do not depend on the input, init",
    ),
    (
        "loss rises with the penalty",
        loss_rises_with_the_penalty,
        "L + λR for λ = 0, 1, 2 rises",
        "the penalty's sign, and whether it is part of the objective",
    ),
    (
        "images do not mix",
        images_do_not_mix,
        "scores ≤ {rounding:.0e} apart",
        "dropout or batch statistics left on in evaluation, sums over the wrong dimension",
    ),
)


def _check_table(checks: list[Check]) -> Table:
    table = make_table("sanity check", "measured", "expected", "")
    marks = {True: "ok", False: "FAILED", None: "skipped"}
    for c in checks:
        table.add_row(c.name, c.measured, c.expected, marks[c.passed])
    return table


def _gradient_table(rows: list[GradientRow]) -> Table:
    table = make_table()
    table.add_column("gradient by hand of", no_wrap=True)
    for column in ("shape", "norm", "error vs autograd", "error vs differences"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        shape = "×".join(map(str, row.shape))
        table.add_row(
            row.name, shape, f"{row.norm:.3g}", f"{row.autograd:.0e}", f"{row.numerical:.0e}"
        )
    return table
