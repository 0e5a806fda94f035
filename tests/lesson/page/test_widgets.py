"""What widgets compute in the browser is what lecture4 computes."""

import json
import math
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from plotly.offline import get_plotlyjs

from lecture4.byhand import functional as F
from lecture4.byhand import optim
from lecture4.lesson.claims import s15_adam as adam
from lecture4.lesson.exercises.catalogue import planted
from lecture4.lesson.exercises.catalogue.adam import adam_without_bias_correction
from lecture4.lesson.lab.plots import COLOURS

PAGE = Path(adam.__file__).parent.parent / "page"
CLASSES = ["cat", "dog", "frog", "ship"]
HTML = """<!doctype html><meta charset="utf-8"><button id="theme"></button><div id="w"></div>
<script type="application/json" id="data">{data}</script>
<script>{plotly}</script><script>{page}</script><script>{widget}</script>
<script>lecture.draw()</script>"""


class Opened:
    """A widget by itself on a page."""

    def __init__(self, browser, path, name, data):
        shown = {"colours": COLOURS, "figures": [{"id": "w", "widget": name, "data": data}]}
        path.write_text(
            HTML.format(
                data=json.dumps(shown),
                plotly=get_plotlyjs(),
                page=(PAGE / "page.js").read_text(),
                widget=(PAGE / "widgets" / f"{name}.js").read_text(),
            )
        )
        self.page = browser.new_page()
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=true]")

    def set(self, values):
        """Give controls, named by the beginning of their labels, values."""
        for label, value in values.items():
            self.page.evaluate(
                """([label, value]) => {
                  const labels = [...document.querySelectorAll('label')];
                  const of = labels.find(l => l.textContent.startsWith(label));
                  const input = document.getElementById(of.htmlFor);
                  input.value = value;
                  input.dispatchEvent(new Event('input'));
                }""",
                [label, str(value)],
            )
        assert self.errors == []

    def says(self):
        return self.page.locator("output").inner_text()


@pytest.fixture(scope="module")
def open_widget(browser, tmp_path_factory):
    opened = []

    def make(name, data):
        opened.append(Opened(browser, tmp_path_factory.mktemp(name) / "w.html", name, data))
        return opened[-1]

    yield make
    for widget in opened:
        widget.page.close()


@pytest.fixture(scope="module")
def softmax(open_widget):
    return open_widget("softmax", {"classes": CLASSES, "scores": [1.0, 2.5, -0.5, 0.0], "right": 0})


@pytest.mark.parametrize(
    ("scores", "right", "smoothing", "constant"),
    [
        ([1.0, 2.5, -0.5, 0.0], 0, 0.0, 0),
        ([5.0, -5.0, 0.3, 0.1], 1, 0.0, 100),
        ([0.0, 0.0, 0.0, 0.0], 3, 0.4, -100),
        ([-3.2, 4.1, 2.0, 1.9], 2, 0.9, 7),
    ],
)
def test_loss_and_its_parts_are_those_of_ops(softmax, scores, right, smoothing, constant):
    softmax.set(
        {f"score of {c}": s for c, s in zip(CLASSES, scores, strict=True)}
        | {"constant": constant, "right class": right, "label smoothing": smoothing}
    )
    s = torch.tensor([scores], dtype=torch.float64)
    p = torch.full((4,), smoothing / 4, dtype=torch.float64)
    p[right] += 1 - smoothing
    q = F.softmax(s, 1)[0]
    loss = F.cross_entropy(s, torch.tensor([right]), label_smoothing=smoothing)
    expected = [loss, F.entropy(p), F.kl_divergence(p, q), *q]
    said = [float(n) for n in re.findall(r"\d+\.\d+", softmax.says())]
    assert said == pytest.approx([v.item() for v in expected], abs=5.1e-4)


@pytest.fixture(scope="module")
def sizes(open_widget):
    return open_widget("sizes", {"n": 32, "f": 5, "s": 1, "p": 0, "d": 1})


FIT = [(32, 5, 1, 0, 1), (7, 3, 2, 0, 1), (7, 2, 3, 1, 1), (224, 7, 2, 3, 1), (10, 3, 2, 2, 3)]
DO_NOT = [(3, 5, 1, 0, 1), (8, 3, 1, 0, 4)]


@pytest.mark.parametrize("setting", [*FIT, *DO_NOT])
def test_the_calculator_counts_and_refuses_as_output_size_does(sizes, setting):
    n, f, s, p, d = setting
    sizes.set({"N,": n, "F,": f, "S,": s, "P,": p, "D,": d})
    try:
        size = F.output_size(n, f, s, p, dilation=d)
    except ValueError as refusal:
        advice = str(refusal).partition("; use ")[2].partition(", not ")[0]
        assert sizes.says().startswith("refused: ")
        assert advice
        assert sizes.says().endswith(advice)
    else:
        assert sizes.says().startswith(f"output size {size} = ")
        tiles = (n + 2 * p - d * (f - 1) - 1) % s == 0
        assert ("do not tile" in sizes.says()) != tiles


@pytest.fixture(scope="module")
def steps(open_widget):
    return open_widget("steps", adam.SURFACE)


@pytest.mark.parametrize("kind", ["sgd", "nesterov", "adam", "uncorrected"])
@pytest.mark.parametrize(("log", "n", "turn"), [(-1.5, 50, 0), (-2, 37, 30), (-0.5, 3, 20)])
def test_steps_are_those_of_optim(steps, kind, log, n, turn):
    steps.set(
        {"Optimizer": kind, "Learning rate": log, "Steps": n, "Valley": turn}
        | {"Momentum": 0.8, "β₁": 0.85, "β₂": 0.99}
    )
    expected = _valley(kind, 10**log, n, math.radians(turn))
    said = re.search(r"x = (\S+), y = (\S+), loss (\S+) ", steps.says()).groups()
    assert [float(number) for number in said] == pytest.approx(expected, rel=1e-4)


def _valley(kind, lr, steps, angle):
    """x, y and loss after these steps of ``lecture4.byhand.optim``."""
    curvatures = torch.tensor(adam.SURFACE["curvatures"], dtype=torch.float64)
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    w = torch.nn.Parameter(torch.tensor(adam.SURFACE["start"], dtype=torch.float64))

    def loss():
        return (curvatures * (turn.double() @ w).square()).sum() / 2

    wrong = planted(adam_without_bias_correction) if kind == "uncorrected" else nullcontext()
    with wrong:
        if kind in ("sgd", "nesterov"):
            optimizer = optim.SGD([w], lr=lr, momentum=0.8, nesterov=kind == "nesterov")
        else:
            optimizer = optim.Adam([w], lr=lr, betas=(0.85, 0.99))
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
    return *w.tolist(), loss().item()
