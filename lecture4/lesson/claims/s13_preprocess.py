"""Data preprocessing: conditioning of the inputs, and the accuracy that it brings."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from lecture4.data.preprocess import (
    ChannelMean,
    ChannelStandardize,
    FullScale,
    MeanImage,
    Preprocess,
)
from lecture4.lesson.lab import (
    Comparison,
    Finding,
    Item,
    Lab,
    Plot,
    Table,
    add_line,
    figure,
    ratio,
)

TITLE = "Data preprocessing"
QUOTE = [
    "In practice: center only.",
    "* Subtract mean image",
    "* Subtract per channel mean",
    "* Subtract per channel mean and divide by per channel std.",
]
TEXT = (
    "The Hessian of a softmax classifier at W = 0 is, up to a fixed factor, the matrix of "
    "second moments of its inputs, with the bias as an input that is always 1; the first layer of "
    "any net has the same inputs. The number of steps that gradient descent needs grows with the "
    "ratio of the largest to the smallest eigenvalue. This ratio is computed for four kinds of "
    "preprocessing; then an MLP of 100 hidden units is trained with each, from the same seeds and "
    "at the best of the rates tried."
)
FORMULAS = [
    r"x' = \frac{x - \mu}{\sigma}, \quad \tilde{x} = (x', 1)",
    r"\nabla^2_W L \,\big|_{W = 0} = \left(\frac{1}{K} I - \frac{1}{K^2} 1 1^T\right) \otimes "
    r"\mathbb{E}[\tilde{x} \tilde{x}^T]",
    r"\kappa = \frac{\lambda_{\text{max}}}{\lambda_{\text{min}}}",
]
KINDS = {
    "none": FullScale,
    "mean image": MeanImage,
    "channel mean": ChannelMean,
    "channel mean and std": ChannelStandardize,
}
CHOICES = ("none", "mean_image", "channel_mean", "channel_standardize")  # of preprocess=
CODE = list(KINDS.values())
RANKS = 60  # points of a plotted spectrum


@dataclass
class Spectrum:
    """Eigenvalues from the largest down: the ends, their ratio, and some between."""

    largest: float
    smallest: float
    condition: float
    ranks: list[int]
    values: list[float]


@dataclass
class Measured:
    """Spectra of E[x̃ x̃ᵀ] and comparisons of nets, by kind of preprocessing."""

    images: int
    classes: int
    spectra: dict[str, Spectrum]
    mlp: Comparison
    softmax: Comparison | None  # full budget only


def measure(lab: Lab) -> Measured:
    """Eigenvalues of E[x̃ x̃ᵀ] and trainings, for each preprocessing."""
    lab.note("the eigenvalues of the inputs' second moments")
    _, data = lab.assemble("model=softmax", "preprocess=none")
    inputs = data.dataset.train_inputs[data.train_index[: lab.pick(5000, None)]]
    raw = second_moments(inputs)
    fitted = {kind: make(data.dataset.input_shape).fit(inputs) for kind, make in KINDS.items()}
    variants = {k: [f"preprocess={c}"] for k, c in zip(KINDS, CHOICES, strict=True)}
    seeds, common = (
        lab.seeds(lab.pick(3, 5)),
        ["augment=none", *lab.length(lab.pick(11_250, 45_000))],
    )
    mlp = ["model=mlp", "model.hidden=[100]", *common]
    softmax = ["model=softmax", *common]
    return Measured(
        images=len(inputs),
        classes=len(data.dataset.class_names),
        spectra={kind: spectrum(transformed(raw, p)) for kind, p in fitted.items()},
        mlp=lab.compare(mlp, variants, (0.01, 0.03, 0.1, 0.3), seeds),
        softmax=lab.pick(None, softmax)
        and lab.compare(softmax, variants, (0.003, 0.01, 0.03, 0.1), seeds),
    )


def second_moments(inputs: torch.Tensor) -> torch.Tensor:
    """E[x̃ x̃ᵀ] of x̃ = (x, 1) with x = image/255 flattened: (D + 1, D + 1), float64."""
    total = 0.0
    for chunk in inputs.split(5000):
        x = torch.nn.functional.pad(chunk.flatten(1).double() / 255, (0, 1), value=1.0)
        total = total + x.T @ x
    return total / len(inputs)


def transformed(moments: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """E[x̃ x̃ᵀ] after preprocessing: A E[x̃ x̃ᵀ] Aᵀ with A x̃ = ((x − mean)/std, 1)."""
    shape = preprocess.input_shape
    ones = moments.new_ones(1)
    scale = torch.cat([(1 / preprocess.std.double()).expand(shape).flatten(), ones])
    shift = torch.cat(
        [(-preprocess.mean / preprocess.std).double().expand(shape).flatten(), 0 * ones]
    )
    left = moments * scale[:, None] + shift[:, None] * moments[-1]  # A M
    return left * scale + left[:, -1:] * shift  # A M Aᵀ


def spectrum(moments: torch.Tensor) -> Spectrum:
    """Eigenvalues of a symmetric matrix."""
    values = torch.linalg.eigvalsh(moments).flip(0)
    largest, last = values[0].item(), len(values) - 1
    values = values.clamp(min=1e-15 * largest)  # float64 resolves no smaller ones
    ranks = sorted({round(last ** (i / (RANKS - 1))) for i in range(RANKS)} | {0})
    smallest = values[-1].item()
    plotted = [values[rank].item() for rank in ranks]
    return Spectrum(largest, smallest, largest / smallest, [rank + 1 for rank in ranks], plotted)


def judge(m: Measured) -> Iterator[Finding]:
    """Condition numbers are exact; the net's accuracies are compared seed by seed."""
    condition = {kind: s.condition for kind, s in m.spectra.items()}
    yield ratio(
        "centring",
        "condition number κ without preprocessing, over the channel mean's",
        condition["none"] / condition["channel mean"],
        at_least=2,
        why="gradient descent needs half as many steps",
    )
    yield ratio(
        "scaling",
        "condition number κ with the channel mean, over channel mean and std's",
        condition["channel mean"] / condition["channel mean and std"],
        at_least=0.5,
        at_most=2,
        why="less than a factor of two either way does not matter",
    )
    yield m.mlp.learned("channel mean", whose="the MLP with the channel mean subtracted")
    yield m.mlp.better("mean image", than="none")
    yield m.mlp.better("channel mean", than="none")
    yield m.mlp.as_good("channel mean and std", than="channel mean")


def draw(m: Measured) -> Iterator[Item]:
    """Spectra, accuracy against learning rate, and a table of all numbers."""
    yield _spectra(m)
    yield m.mlp.rates_plot(
        "MLP, first seed. Dividing by a std below 1 makes the inputs larger, so the best rate "
        "should be lower."
    )
    if m.softmax:
        yield m.softmax.rates_plot("Softmax classifier, for comparison: no finding uses it.")
    yield _table(m)


def _spectra(m: Measured) -> Plot:
    drawn = figure("rank of the eigenvalue", "eigenvalue over the largest", log_x=True, log_y=True)
    for i, (kind, s) in enumerate(m.spectra.items()):
        dash = ("solid", "dash", "solid", "dot")[i]  # two of the lines lie on each other
        add_line(drawn, s.ranks, [v / s.largest for v in s.values], kind, i, dash)
    drawn.update_yaxes(exponentformat="power")
    drawn.update_xaxes(dtick=1)
    conditions = "; ".join(f"{kind} {s.condition:.3g}" for kind, s in m.spectra.items())
    return Plot(
        drawn,
        alt=f"Eigenvalues of E[x̃ x̃ᵀ], from the largest down. Condition numbers: {conditions}.",
        caption=f"Of {m.images:,} training images and a column of ones for the bias. Each line "
        "ends, on the right, at 1/κ. If the mean image is large compared with the differences "
        "between images, its eigenvalue is the largest, and without centring it dwarfs all others. "
        "Dividing all channels by one number would not change the lines.",
    )


def _table(m: Measured) -> Table:
    nets = {"MLP": m.mlp} | ({"softmax classifier": m.softmax} if m.softmax else {})
    header = ["preprocessing", "λ max", "λ min", "κ", "rate limit"]
    for net in nets:
        header += [f"{net}: best rate", f"{net}: test accuracy (%), each seed"]
    rows = [
        [
            kind,
            *(f"{value:.3g}" for value in (s.largest, s.smallest, s.condition)),
            f"{2 * m.classes / s.largest:.2g}",
            *(cell for compared in nets.values() for cell in compared.row(kind)),
        ]
        for kind, s in m.spectra.items()
    ]
    return Table(
        header,
        rows,
        caption="κ = λ max / λ min of E[x̃ x̃ᵀ]. Rate limit: 2K/λ max, above which plain gradient "
        "descent on a softmax classifier overshoots in the direction of highest curvature, at W = "
        "0. " + " ".join(f"{net}: {compared.note}" for net, compared in nets.items()),
    )
