"""Data preprocessing: how well the inputs are conditioned, and the accuracy that it brings."""

import torch

from lecture4.data.preprocess import ChannelMean, ChannelStandardize, FullScale, MeanImage
from lecture4.lesson.lab import Claim, Finding, Item, Lab, Plot, Table, figure, paired, resolution
from lecture4.lesson.lab.drawing import COLOURS

KINDS = {
    "none": FullScale,
    "mean_image": MeanImage,
    "channel_mean": ChannelMean,
    "channel_standardize": ChannelStandardize,
}
NAMES = {
    "none": "none",
    "mean_image": "mean image",
    "channel_mean": "channel mean",
    "channel_standardize": "channel mean and std",
}
MLP, SOFTMAX = ["model=mlp", "model.hidden=[100]"], ["model=softmax"]
RANKS = 60  # points of a drawn spectrum


def measure(lab: Lab) -> dict:
    """The eigenvalues of E[x̃ x̃ᵀ] under each preprocessing, and trainings under each."""
    lab.note("the eigenvalues of the inputs' second moments")
    _, data = lab.assemble(*SOFTMAX, "preprocess=none")
    index = data.train_index[: lab.pick(5000, None)]
    inputs = data.dataset.train_inputs[index]
    raw = second_moments(inputs)
    spectra = {}
    for kind, make in KINDS.items():
        preprocess = make(data.dataset.input_shape).fit(inputs)
        values = torch.linalg.eigvalsh(transformed(raw, preprocess)).flip(0)
        spectra[kind] = _spectrum(values)
    seeds = lab.seeds(lab.pick(3, 5))
    nets = {"MLP": _compare(lab, MLP, (0.01, 0.03, 0.1, 0.3), seeds)}
    if lab.budget == "full":
        nets["softmax classifier"] = _compare(lab, SOFTMAX, (0.003, 0.01, 0.03, 0.1), seeds)
    return {
        "seeds": seeds,
        "images": len(inputs),
        "classes": len(data.dataset.class_names),
        "tested": len(data.dataset.test_labels),
        "spectra": spectra,
        "nets": nets,
    }


def second_moments(inputs: torch.Tensor) -> torch.Tensor:
    """E[x̃ x̃ᵀ] of x̃ = (x, 1), x = image/255 stretched: (D + 1, D + 1), float64."""
    total = 0.0
    for chunk in inputs.split(5000):
        x = torch.nn.functional.pad(chunk.flatten(1).double() / 255, (0, 1), value=1.0)
        total = total + x.T @ x
    return total / len(inputs)


def transformed(moments: torch.Tensor, preprocess: FullScale) -> torch.Tensor:
    """E[x̃ x̃ᵀ] after preprocessing, A E[x̃ x̃ᵀ] Aᵀ, where A x̃ = ((x − mean)/std, 1)."""
    shape = preprocess.input_shape
    ones = moments.new_ones(1)
    scale = torch.cat([(1 / preprocess.std.double()).expand(shape).flatten(), ones])
    shift = torch.cat(
        [(-preprocess.mean / preprocess.std).double().expand(shape).flatten(), 0 * ones]
    )
    left = moments * scale[:, None] + shift[:, None] * moments[-1]  # A M
    return left * scale + left[:, -1:] * shift  # A M Aᵀ


def _spectrum(values: torch.Tensor) -> dict:
    """Largest and smallest eigenvalue, their quotient, and some between, of descending values."""
    largest = values[0].item()
    values = values.clamp(min=1e-15 * largest)  # what float64 tells from zero
    last = len(values) - 1
    ranks = sorted({round(last ** (i / (RANKS - 1))) for i in range(RANKS)} | {0})
    return {
        "largest": largest,
        "smallest": values[-1].item(),
        "condition": largest / values[-1].item(),
        "ranks": [rank + 1 for rank in ranks],
        "values": [values[rank].item() for rank in ranks],
    }


def _compare(lab: Lab, net: list[str], rates: tuple[float, ...], seeds: list[int]) -> dict:
    """For each kind the rates on the first seed, and the best of them on all seeds."""
    length = lab.length(lab.pick(11_250, 45_000))
    settings = [(f"optim.lr={rate}",) for rate in rates]
    compared = {}
    for kind in KINDS:
        tuned = lab.tune([*net, f"preprocess={kind}", "augment=none", *length], settings, seeds)
        compared[kind] = {
            "rates": list(rates),
            "validation": tuned.validation,
            "rate": rates[tuned.best],
            "at_edge": tuned.at_edge,
            "accuracy": [run.accuracy for run in tuned.runs],
        }
    return compared


def judge(m: dict) -> list[Finding]:
    """Conditioning is exact; accuracies of the net are paired (the heading is Training NN)."""
    condition = {kind: spectrum["condition"] for kind, spectrum in m["spectra"].items()}
    return [
        Finding(
            "condition number of E[x̃ x̃ᵀ] with none over that with the channel mean subtracted "
            "(gradient descent needs steps in proportion: half of them)",
            [condition["none"] / condition["channel_mean"]],
            at_least=2,
        ),
        Finding(
            "the same number with the channel mean over that with channel mean and std (less than "
            "a factor of two either way counts as nothing)",
            [condition["channel_mean"] / condition["channel_standardize"]],
            at_least=0.5,
            at_most=2,
        ),
        *_accurate(m),
    ]


def _accurate(m: dict) -> list[Finding]:
    net, luck = m["nets"]["MLP"], resolution(m["tested"])
    accuracy = {kind: of["accuracy"] for kind, of in net.items()}
    least = max(1, luck)  # more than luck, and about what an advice must bring to be worth it
    return [
        Finding(
            f"MLP: test accuracy with the channel mean subtracted minus chance ({luck:.2g} points: "
            f"more than luck on {m['tested']:,} test images; without it there is nothing to "
            f"compare)",
            paired(accuracy["channel_mean"], [1 / m["classes"]] * len(m["seeds"])),
            at_least=luck,
            unit="points",
        ),
        *(
            Finding(
                f"MLP: test accuracy with the {NAMES[kind]} subtracted minus that with none "
                f"({least:.2g} points: more than luck, and about what an advice must bring)",
                paired(accuracy[kind], accuracy["none"]),
                at_least=least,
                unit="points",
            )
            for kind in ("mean_image", "channel_mean")
        ),
        Finding(
            "MLP: test accuracy with channel mean and std minus that with the channel mean alone "
            "(within the same bound either way, dividing adds nothing)",
            paired(accuracy["channel_standardize"], accuracy["channel_mean"]),
            at_least=-least,
            at_most=least,
            unit="points",
        ),
    ]


def draw(m: dict) -> list[Item]:
    """Spectra, accuracy over learning rate, and all numbers in one table."""
    return [_spectra(m), *(_rates(name, net) for name, net in m["nets"].items()), _table(m)]


def _spectra(m: dict) -> Plot:
    drawn = figure("rank of the eigenvalue", "eigenvalue over the largest", log_x=True, log_y=True)
    for i, (kind, spectrum) in enumerate(m["spectra"].items()):
        drawn.add_scatter(
            x=spectrum["ranks"],
            y=[v / spectrum["largest"] for v in spectrum["values"]],
            mode="lines",
            name=NAMES[kind],
            line={"color": COLOURS[i], "width": 2, "dash": ("solid", "dash", "solid", "dot")[i]},
        )
    drawn.update_yaxes(exponentformat="power")
    drawn.update_xaxes(dtick=1)
    told = "; ".join(f"{NAMES[k]} {s['condition']:.3g}" for k, s in m["spectra"].items())
    return Plot(
        drawn,
        alt=f"Eigenvalues of E[x̃ x̃ᵀ], from the largest down. Condition numbers: {told}.",
        caption=f"Over {m['images']:,} training images and the column of ones for the bias. Each "
        f"line ends, on the right, at 1/κ. Where the mean image is large beside the differences "
        f"between images, its eigenvalue is the largest, and without centring all others should "
        f"lie low beside it; dividing all channels by one number would move none of them.",
    )


def _rates(name: str, net: dict) -> Plot:
    drawn = figure("learning rate", "validation accuracy (%)", log_x=True)
    for i, (kind, of) in enumerate(net.items()):
        drawn.add_scatter(
            x=of["rates"],
            y=[100 * v for v in of["validation"]],
            mode="lines+markers",
            name=NAMES[kind],
            line={"color": COLOURS[i], "width": 2, "dash": ("solid", "dash", "solid", "dot")[i]},
        )
    rates = next(iter(net.values()))["rates"]
    drawn.update_xaxes(tickvals=rates, ticktext=[f"{rate:g}" for rate in rates])
    told = "; ".join(f"{NAMES[k]} {100 * max(of['validation']):.1f} %" for k, of in net.items())
    return Plot(
        drawn,
        alt=f"{name}: validation accuracy at each learning rate; the best: {told}.",
        caption=f"{name}, first seed; a training that diverges counts as chance. One above the "
        f"other: the same rate for all. Dividing by a std below one makes the inputs larger, so "
        f"that the best rate should lie lower."
        + ("" if name == "MLP" else " Shown for comparison: no finding rests on it."),
    )


def _table(m: dict) -> Table:
    header = ["preprocessing", "λ max", "λ min", "κ", "rate limit"]
    for name in m["nets"]:
        header += [f"{name}: best rate", f"{name}: test accuracy (%), each seed"]
    rows = []
    for kind, spectrum in m["spectra"].items():
        row = [
            NAMES[kind],
            *(f"{spectrum[key]:.3g}" for key in ("largest", "smallest", "condition")),
        ]
        row.append(f"{2 * m['classes'] / spectrum['largest']:.2g}")
        for net in m["nets"].values():
            accuracies = ", ".join(f"{100 * a:.1f}" for a in net[kind]["accuracy"])
            row += [f"{net[kind]['rate']:g}" + "*" * net[kind]["at_edge"], accuracies]
        rows.append(row)
    tried = "; ".join(
        f"{name} {', '.join(f'{rate:g}' for rate in net['none']['rates'])}"
        for name, net in m["nets"].items()
    )
    return Table(
        header,
        rows,
        caption="κ = λ max / λ min of E[x̃ x̃ᵀ]. Rate limit: 2K/λ max, above which plain gradient "
        "descent on a softmax classifier overshoots where it curves most, by the curvature at "
        f"W = 0. Best rate: the best, by validation accuracy of the first seed, of {tried} (*: at "
        f"the edge of these, so that a better one may lie beyond).",
    )


CLAIM = Claim(
    name="preprocess",
    title="Data preprocessing",
    quote="In practice: center only. … Subtract mean image … Subtract per channel mean … Subtract "
    "per channel mean and divide by per channel std.",
    text="The Hessian of a softmax classifier at W = 0 is, up to a fixed factor, the second "
    "moments of its inputs, the bias counted as an input that is always one; the first layer "
    "of any net sees the same matrix. The quotient of its largest and smallest eigenvalue "
    "says how many steps gradient descent needs. It is computed for the four preprocessings; "
    "then one MLP of 100 hidden units is trained under each, from the same seeds, each at "
    "the best of the rates tried.",
    formulas=[
        r"x' = \frac{x - \mu}{\sigma}, \quad \tilde{x} = (x', 1)",
        r"\nabla^2_W L \,\big|_{W = 0} = \left(\frac{1}{K} I - \frac{1}{K^2} 1 1^T\right) \otimes "
        r"\mathbb{E}[\tilde{x} \tilde{x}^T]",
        r"\kappa = \frac{\lambda_{\text{max}}}{\lambda_{\text{min}}}",
    ],
    code=list(KINDS.values()),
    measure=measure,
    judge=judge,
    draw=draw,
)
