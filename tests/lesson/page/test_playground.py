"""What the playground computes is what lecture4 computes, and everybody can operate it."""

import json
import math
import re

import pytest
import torch
from plotly.offline import get_plotlyjs

from lecture4.byhand import functional as F
from lecture4.byhand import nn, optim
from lecture4.byhand.init import standard_deviation
from lecture4.data.preprocess import Polar
from lecture4.lesson.page.render import render_page
from lecture4.lesson.report import machine
from lecture4.models import MLP
from lecture4.models.activations import find_activation

ACTIVATIONS = ["relu", "leaky_relu", "tanh", "sigmoid"]
INITS = ["small", "xavier", "he", "large"]
FEATURES = ["xy", "polar"]
OPTIMIZERS = {
    "descent": lambda w, lr: optim.SGD(w, lr=lr),
    "momentum": lambda w, lr: optim.SGD(w, lr=lr, momentum=0.9),
    "adam": lambda w, lr: optim.Adam(w, lr=lr),
}
UPDATES = 50
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
REPORT = {  # before a claim was measured
    "made": "now",
    "budget": "quick",
    "seed": 0,
    "data": {"name": "shapes", "fallback": False, "train": 1, "test": 1, "classes": ["a", "b"]},
    "claims": [],
    "seconds": 0,
    "machine": machine(),
}
# Weights, forward, gradient, and the weights after updates with their batches.
# of JSON, for Playwright 1.50 hands over 0.0 as −0
COMPUTE = """(text) => {
  const { points, feature, activation, init, optimizer, eta, lambda, updates } = JSON.parse(text);
  const { net: nets, points: p } = playground;
  const plain = (layers) => layers.map(({ W, b }) => [[...W], [...b]]);
  const data = p.table(points, feature);
  const net = nets.begin({ sizes: [2, 7, 5, 2], activation, init, optimizer, seed: 3 });
  const start = plain(net.layers);
  const { loss, right, h, gradients } = nets.gradient(net, data, lambda);
  const batches = [];
  for (let i = 0; i < updates; i++) {
    nets.update(net, data, eta, lambda);
    batches.push([...net.batch]);
  }
  return {
    x: [...data.x], start, loss, right, h: h.map((v) => [...v]), rms: h.map(nets.rms),
    gradients: plain(gradients), batches, end: plain(net.layers),
  };
}"""
SET = """([name, value]) => {
  const input = document.getElementById("playground").elements[name];
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}"""
LAYERS = "() => playground.state.net.layers.map(({ W, b }) => [[...W], [...b]])"
# Frames of the animation come one by one, at times that the test chooses, by a clock that moves
# when it is read, by ms, and with each frame.
HOLD_FRAMES = """(ms = 0) => {
  window.requestAnimationFrame = (next) => { window.nextFrame = next; return 0; };
  window.time = performance.now();
  performance.now = () => (window.time += ms);
}"""
FRAME_IN = "(ms) => window.nextFrame(window.time += ms)"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("playground") / "lecture.html"
    # without Plotly's 5 MB, which the playground does not use and each new page would read
    file.write_text(render_page(REPORT).replace(get_plotlyjs(), ""))
    return file


class Opened:
    """The page, with a few words for what a reader does."""

    def __init__(self, browser, path, width=1400, **options):
        self.errors, self.requests = [], []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.page.on("console", lambda m: m.type in ("error", "warning") and self._note(m.text))
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=true]")
        self.plane = self.page.locator("canvas.plane")

    def _note(self, text):
        self.errors.append(text)

    def set(self, **settings):
        for name, value in settings.items():
            self.page.evaluate(SET, [name, str(value)])

    def press(self, name):
        self.page.locator(f"button[name={name}]").click()

    def choose(self, tool):
        self.page.locator(f"input[name=tool][value='{tool}']").check(force=True)

    def points(self):
        return self.page.evaluate("playground.board.points")

    def layers(self):
        return self.page.evaluate(LAYERS)

    def said(self, part):
        return self.page.locator(f".said.{part}").inner_text()

    def clock(self):
        return self.page.locator(".clock").inner_text()

    def spoken(self):
        return self.page.locator("#play-spoken").text_content()

    def pixel(self, x, y):
        """Where (x, y) of the plane is on the screen."""
        box = self.plane.bounding_box()
        return (
            box["x"] + (x / 2.5 + 1) * box["width"] / 2,
            box["y"] + (1 - y / 2.5) * box["height"] / 2,
        )


@pytest.fixture(scope="module")
def shared(browser, path):
    opened = Opened(browser, path)
    yield opened
    assert opened.errors == []
    opened.page.close()


@pytest.fixture
def fresh(browser, path):
    opened = Opened(browser, path)
    yield opened
    assert opened.errors == []
    opened.page.close()


def made_net(activation, weights):
    """lecture4's net in float64, with the weights of the browser."""
    hidden = [len(b) for _, b in weights[:-1]]
    net = MLP((2,), 2, hidden, activation, layers=nn).double()
    with torch.no_grad():
        for w, given in zip(net.parameters(), flat(weights), strict=True):
            w.copy_(given.view_as(w))
    return net


def flat(layers):
    """W and b of each layer, one after the other."""
    return [torch.tensor(part, dtype=torch.float64) for layer in layers for part in layer]


def loss_of(net, x, y, strength):
    """(1/N) Σ Lₙ + λ R(W)."""
    weights = [w for w in net.parameters() if w.ndim > 1]
    return F.cross_entropy(net(x), y) + strength * F.l2_penalty(weights)


def inputs_of(points, feature):
    x = torch.tensor([[p["x"], p["y"]] for p in points], dtype=torch.float64)
    y = torch.tensor([p["k"] for p in points])
    return (Polar((2,)).double()(x) if feature == "polar" else x), y


def updated(net, make, x, y, batches, lr, strength):
    """Train lecture4's net on these batches."""
    optimizer = make(net.parameters(), lr)
    for batch in batches:
        optimizer.zero_grad()
        loss_of(net, x[batch], y[batch], strength).backward()
        optimizer.step()


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b.detach().flatten(), **CLOSE)


def scattered(n=70):
    """Points on both sides of the cut of θ, and at the origin."""
    draw = torch.Generator().manual_seed(5)
    places = (torch.randn(n, 2, generator=draw, dtype=torch.float64)).tolist()
    places[:3] = [[0.0, 0.0], [-1.0, 0.0], [-1.0, -1e-9]]
    return [{"x": x, "y": y, "k": i % 3 // 2} for i, (x, y) in enumerate(places)]


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_loss_and_gradient_are_those_of_lecture4(shared, activation, init, feature):
    points, strength = scattered(), 0.01
    found = shared.page.evaluate(
        COMPUTE,
        json.dumps(
            {"points": points, "feature": feature, "activation": activation, "init": init}
            | {"optimizer": "adam", "eta": 0.01, "lambda": strength, "updates": 0}
        ),
    )
    x, y = inputs_of(points, feature)
    torch.testing.assert_close(torch.tensor(found["x"], dtype=torch.float64), x.flatten(), **CLOSE)
    net = made_net(activation, found["start"])
    h = [x]
    for layer in [*net.hidden[:-1:2], net.scores]:
        h.append(layer(h[-1]) if layer is net.scores else net.hidden[1](layer(h[-1])))
    same([torch.tensor(v, dtype=torch.float64) for v in found["h"]], h)
    sizes = torch.stack([v.square().mean().sqrt() for v in h])
    torch.testing.assert_close(torch.tensor(found["rms"], dtype=torch.float64), sizes, **CLOSE)
    assert found["loss"] == pytest.approx(F.cross_entropy(net(x), y).item(), abs=1e-9)
    assert found["right"] == (net(x).argmax(1) == y).sum()
    loss_of(net, x, y, strength).backward()
    same(flat(found["gradients"]), [w.grad for w in net.parameters()])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("activation", "init", "feature", "strength"),
    [
        ("relu", "he", "xy", 0),
        ("leaky_relu", "large", "polar", 1e-3),
        ("tanh", "xavier", "xy", 0.01),
        ("sigmoid", "small", "polar", 0),
    ],
)
def test_fifty_updates_are_those_of_lecture4(
    shared, optimizer, activation, init, feature, strength
):
    points, lr = scattered(), {"descent": 0.3, "momentum": 0.05, "adam": 0.01}[optimizer]
    found = shared.page.evaluate(
        COMPUTE,
        json.dumps(
            {"points": points, "feature": feature, "activation": activation, "init": init}
            | {"optimizer": optimizer, "eta": lr, "lambda": strength, "updates": UPDATES}
        ),
    )
    x, y = inputs_of(points, feature)
    net = made_net(activation, found["start"])
    updated(net, OPTIMIZERS[optimizer], x, y, found["batches"], lr, strength)
    same(flat(found["end"]), net.parameters())
    pairs = zip(flat(found["start"]), flat(found["end"]), strict=True)
    assert all((before - after).abs().max() > 1e-9 for before, after in pairs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_batches_are_all_points_or_32_of_a_shuffled_epoch(shared, optimizer):
    found = shared.page.evaluate(
        COMPUTE,
        json.dumps(
            {"points": scattered(70), "feature": "xy", "activation": "relu", "init": "he"}
            | {"optimizer": optimizer, "eta": 0.01, "lambda": 0, "updates": 6}
        ),
    )["batches"]
    if optimizer == "descent":
        assert found == [list(range(70))] * 6
    else:
        assert [len(batch) for batch in found] == [32, 32, 6] * 2
        first, second = (sum(found[i : i + 3], []) for i in (0, 3))
        assert sorted(first) == sorted(second) == list(range(70))
        assert first != second


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("init", INITS)
def test_weights_are_drawn_as_by_init(shared, init, activation):
    """Each is √Var[w] times a normal number, which ``large``, of std 1, shows by itself."""
    sizes = [2, 80, 90, 2]
    drawn, normal = (
        flat(
            shared.page.evaluate(
                """([sizes, activation, init]) => playground.net
                  .begin({ sizes, activation, init, optimizer: "adam", seed: 1 })
                  .layers.map(({ W, b }) => [[...W], [...b]])""",
                [sizes, activation, scheme],
            )
        )
        for scheme in (init, "large")
    )
    for layer in range(3):
        gain = find_activation(activation).gain if layer < 2 else 1.0
        std = standard_deviation(init, sizes[layer], sizes[layer + 1], gain)
        torch.testing.assert_close(drawn[2 * layer], std * normal[2 * layer], **CLOSE)
        assert not drawn[2 * layer + 1].any()
    z = normal[2]  # 7,200 numbers
    assert z.std() == pytest.approx(1, abs=0.03)
    assert abs(z.mean()) < 0.03
    assert (z.abs() > 2).double().mean() == pytest.approx(0.0455, abs=0.01)


def test_rings_are_those_of_make_rings_and_the_seed_decides(shared):
    found, again, other = shared.page.evaluate(
        "[1, 1, 2].map((seed) => playground.points.draw('rings', 400, 0, seed))"
    )
    assert found == again
    assert found != other
    for k, (low, high) in enumerate([(0, 0.8), (1.2, 2)]):
        radii = [math.hypot(p["x"], p["y"]) for p in found if p["k"] == k]
        assert len(radii) == 200
        assert low <= min(radii) < low + 0.05
        assert high - 0.05 < max(radii) <= high
        assert sum(p["held"] for p in found if p["k"] == k) == 50


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_buttons_and_sliders_train_as_lecture4_does(fresh, optimizer):
    fresh.set(count=40, shape="spirals", features="polar", hidden=1, units=4, activation="tanh")
    fresh.set(init="xavier", optimizer=optimizer, eta=5, **{"lambda": 6})  # η = 0.03, λ = 0.003
    start = fresh.layers()
    std = standard_deviation("xavier", 2, 4, find_activation("tanh").gain)
    fresh.set(init="large")
    large = flat(fresh.layers())[0]
    torch.testing.assert_close(flat(start)[0], std * large, **CLOSE)
    fresh.set(init="xavier")
    batches = []
    for _ in range(5):
        fresh.press("step")
        batches.append(fresh.page.evaluate("playground.state.net.batch"))
    x, y = inputs_of([p for p in fresh.points() if not p["held"]], "polar")
    net = made_net("tanh", start)
    updated(net, OPTIMIZERS[optimizer], x, y, batches, 0.03, 0.003)
    same(flat(fresh.layers()), net.parameters())
    assert fresh.clock() == "update 5, seed 3"
    scores = net(x)
    right = (scores.argmax(1) == y).double().mean().item()
    loss = F.cross_entropy(scores, y).item()
    assert fresh.said("training") == f"{float(f'{loss:.3g}'):g}, {100 * right:.1f} % right"
    net.zero_grad()
    loss_of(net, x, y, 0.003).backward()
    shown = fresh.page.locator(".layers td").all_inner_texts()
    h = net.hidden(x)
    expected = [h, net.hidden[0].weight.grad, scores, net.scores.weight.grad]
    for text, value in zip(shown, expected, strict=True):
        rms = value.square().mean().sqrt().item()
        assert float(text.replace("−", "-")) == pytest.approx(rms, rel=0.05)


def test_rewind_returns_to_the_seed_and_a_new_seed_does_not(fresh):
    start = fresh.layers()
    paths = []
    for _ in range(2):
        for _ in range(3):
            fresh.press("step")
        paths.append(fresh.layers())
        fresh.press("rewind")
        assert fresh.layers() == start
        assert fresh.clock() == "update 0, seed 3"
    assert paths[0] == paths[1] != start
    assert fresh.page.locator(".before.training").get_attribute("d").count("L") == 3
    fresh.press("reseed")
    assert fresh.layers() != start
    assert fresh.clock() == "update 0, seed 4"


def test_a_line_separates_the_rings_by_radius_alone(fresh):
    right = {}
    for features in FEATURES:
        fresh.set(hidden=0, noise=0, features=features)
        fresh.page.evaluate(
            "() => { const { net, training } = playground.state;"
            " for (let i = 0; i < 1000; i++) playground.net.update(net, training, 0.1, 0); }"
        )
        fresh.press("step")
        right[features] = float(fresh.said("held").split()[1])
    assert right["xy"] < 75
    assert right["polar"] == 100


def test_live_training_draws_losses_and_pauses(fresh):
    fresh.page.evaluate(HOLD_FRAMES)
    fresh.press("train")
    assert fresh.page.locator("button[name=train]").inner_text() == "Pause"
    before = fresh.said("training")
    for _ in range(5):
        fresh.page.evaluate(FRAME_IN, 16)
    assert fresh.clock() == "update 5, seed 3"
    assert fresh.said("training") != before
    assert fresh.page.locator(".now.training").get_attribute("d").count("L") == 5
    assert re.match(r"Training\. After \d updates", fresh.spoken())  # every five seconds
    fresh.press("train")
    assert fresh.spoken().startswith("After 5 updates: training loss ")
    fresh.page.evaluate(FRAME_IN, 16)
    assert fresh.clock() == "update 5, seed 3"


def test_where_losses_take_longer_than_a_frame_every_fourth_picture_has_them(fresh):
    fresh.page.evaluate(HOLD_FRAMES, 20)
    fresh.press("train")
    told = []
    for _ in range(8):
        fresh.page.evaluate(FRAME_IN, 16)
        told.append(int(re.search(r"\d+", fresh.clock())[0]))
    assert told == [1, 1, 1, 4, 4, 4, 4, 8]
    fresh.press("train")
    assert fresh.spoken().startswith("After 8 updates: training loss ")


def test_with_reduced_motion_a_picture_a_second_is_drawn(browser, path):
    calm = Opened(browser, path, reduced_motion="reduce")
    calm.page.evaluate(HOLD_FRAMES)
    calm.press("train")
    calm.page.evaluate(FRAME_IN, 16)
    assert calm.clock() == "update 0, seed 3"
    calm.page.evaluate(FRAME_IN, 1500)
    assert calm.clock() == "update 2, seed 3"
    calm.page.close()


def test_a_rate_that_is_too_large_stops_with_words(fresh):
    fresh.set(activation="leaky_relu", init="large", optimizer="momentum", hidden=6, eta=10)
    fresh.page.evaluate(HOLD_FRAMES)
    fresh.press("train")
    for _ in range(60):
        fresh.page.evaluate(FRAME_IN, 16)
    assert fresh.said("training") == "not finite: lower η and rewind"
    assert fresh.page.locator("button[name=train]").inner_text() == "Train"
    assert "not finite" in fresh.spoken()


def test_without_points_nothing_trains(fresh):
    fresh.press("clear")
    assert fresh.said("training") == fresh.said("held") == "no points"
    words = fresh.page.locator(".curves").get_attribute("aria-label")
    assert words == "Loss curves over 0 updates: training no points, held out no points"
    assert fresh.page.locator("button[name=train]").is_disabled()
    assert fresh.page.locator("select[name=shape]").input_value() == "none"
    fresh.choose("1")
    fresh.page.mouse.click(*fresh.pixel(1, 1))
    fresh.press("step")
    assert fresh.said("training").endswith("100.0 % right")


def test_the_plane_shows_the_boundary_of_the_net(fresh):
    fresh.set(hidden=0)
    fresh.press("clear")
    fresh.page.evaluate(
        "const [{ W, b }] = playground.state.net.layers; W.set([-9, 0, 9, 0]); b.set([9, -9]);"
        "playground.board.changed('')"
    )
    colours = fresh.page.evaluate(
        """() => {
          const canvas = document.querySelector('canvas.plane');
          const { width } = canvas;
          const row = canvas.getContext('2d').getImageData(0, 0.3 * width, width, 1).data;
          return [0.2, 0.7, 0.9].map((x) => [...row.slice(4 * Math.round(x * width)).slice(0, 4)]);
        }"""
    )
    left, middle, right = colours
    assert left[2] > left[0]  # blue where x < 1
    assert right[0] > right[2]  # orange where x > 1
    assert middle[:3] == pytest.approx([0xD1, 0x49, 0x5B], abs=3)
    assert middle[3] > 200


def test_a_plane_without_size_waits_to_be_drawn(fresh):
    painted = (
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    for display in ("none", ""):
        fresh.page.evaluate("(d) => { document.body.style.display = d; }", display)
        fresh.page.evaluate(painted)
    assert fresh.plane.bounding_box()["width"] > 100


def test_a_mouse_adds_moves_and_erases(fresh):
    fresh.press("clear")
    mouse = fresh.page.mouse
    mouse.move(*fresh.pixel(-2, 2))
    mouse.down()
    mouse.move(*fresh.pixel(0, 2), steps=12)
    mouse.up()
    row = fresh.points()
    assert len(row) >= 5
    assert all(p["k"] == 0 and not p["held"] and p["y"] == pytest.approx(2, abs=0.02) for p in row)
    assert row[0]["x"] == pytest.approx(-2, abs=0.02)
    fresh.choose("move")
    mouse.move(*fresh.pixel(-2, 2))
    mouse.down()
    mouse.move(*fresh.pixel(-1, -1), steps=3)
    mouse.up()
    assert fresh.points()[0] == pytest.approx({"x": -1, "y": -1, "k": 0, "held": False}, abs=0.02)
    fresh.choose("erase")
    mouse.click(*fresh.pixel(-1, -1))
    assert fresh.points() == row[1:]
    cursor = "playground.board.cursor"
    assert fresh.page.evaluate(cursor) is None
    fresh.page.keyboard.press("Escape")  # from the mouse to the keyboard
    assert fresh.page.evaluate(cursor) == {"x": 0, "y": 0}


def test_a_finger_adds_points_and_does_not_scroll(browser, path):
    phone = Opened(browser, path, 390, has_touch=True, is_mobile=True)
    phone.press("clear")
    phone.page.locator("label", has=phone.page.locator("input[name=tool][value='1']")).tap()
    phone.page.touchscreen.tap(*phone.pixel(1, 1))
    assert phone.points() == [pytest.approx({"x": 1, "y": 1, "k": 1, "held": False}, abs=0.03)]
    finger = phone.page.context.new_cdp_session(phone.page)
    for kind, *place in [
        ("touchStart", -1, -1),
        ("touchMove", -1, 0),
        ("touchMove", -1, 1),
        ("touchEnd",),
    ]:
        x, y = phone.pixel(*place) if place else (0, 0)
        touches = [{"x": x, "y": y}] if place else []
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    assert len(phone.points()) >= 3
    assert phone.page.evaluate("scrollY") == 0
    assert phone.errors == []
    phone.page.close()


def test_the_keyboard_reaches_every_control(fresh):
    reached = []
    for _ in range(40):
        fresh.page.keyboard.press("Tab")
        reached.append(
            fresh.page.evaluate("document.activeElement.name || document.activeElement.tagName")
        )
    every = fresh.page.evaluate(
        "[...document.getElementById('playground').elements].map((e) => e.name).filter(Boolean)"
    )
    assert set(every) | {"CANVAS"} <= set(reached)


def test_the_keyboard_adds_carries_and_erases_points(fresh):
    fresh.press("clear")
    key = fresh.page.keyboard.press
    fresh.page.locator("input[name=tool][value='0']").focus()
    key("ArrowRight")  # to orange
    key("Tab")
    key("Tab")
    assert fresh.spoken().startswith("x 0.0, y 0.0: probability of orange 0.")
    for _ in range(3):
        key("ArrowRight")
    key("Shift+ArrowUp")
    key("Enter")
    point = {"x": 0.3, "y": 0.5, "k": 1, "held": False}
    assert fresh.points() == [pytest.approx(point)]
    assert fresh.spoken().startswith("orange point added. After 0 updates: training loss ")
    fresh.choose("move")
    fresh.plane.focus()
    key("Space")
    assert fresh.spoken() == "Carrying: orange point."
    key("ArrowDown")
    key("Space")
    assert fresh.points() == [pytest.approx(point | {"y": 0.4})]
    key("Delete")
    assert fresh.points() == []
    assert fresh.spoken().startswith("orange point erased. ")


def test_every_control_and_picture_has_words(fresh):
    named = fresh.page.evaluate(
        """[...document.querySelectorAll('#playground :is(input, select, button, canvas, svg)')]
          .map((e) => e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent)
          .map((words) => words.trim())"""
    )
    assert all(len(words) > 3 for words in named)
    fresh.press("step")
    assert fresh.plane.get_attribute("aria-label").startswith(
        "Plane with 150 training points and 50"
    )
    words = fresh.page.locator(".curves").get_attribute("aria-label")
    assert words.startswith("Loss curves over 1 update: training 1.")
    described = fresh.plane.get_attribute("aria-describedby").split()
    assert all(fresh.page.locator(f"#{part}").count() == 1 for part in described)
    slider = fresh.page.locator("input[name=eta]")
    assert slider.get_attribute("aria-valuetext") == "0.01"


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1400, 900)])
def test_the_page_begins_with_something_to_drag(browser, path, width, height):
    opened = Opened(browser, path, width)
    box = opened.plane.bounding_box()
    assert box["y"] + box["height"] < height
    title = opened.page.locator("h1")
    assert title.bounding_box()["height"] < 2 * 23
    text = opened.page.locator("#playground").evaluate(
        "e => { const r = document.createRange(); r.setStart(document.body, 0); r.setEndBefore(e);"
        " return r.cloneContents().textContent.replace(/\\s+/g, ' ').trim(); }"
    )
    assert len(text.split()) < 30
    assert all(url.startswith("file:") for url in opened.requests)
    opened.page.close()


def test_print_shows_the_plane_without_tools(fresh):
    fresh.page.emulate_media(media="print")
    assert fresh.plane.is_visible()
    assert fresh.page.locator(".curves").is_visible()
    assert not fresh.page.locator(".tools").is_visible()
    assert not fresh.page.locator("button[name=train]").is_visible()
