"""Looking inside a net by mouse, finger, keyboard and ear, with an image of one's own."""

import base64
import re

import numpy as np
import pytest
import torch
from looking import CLASSES, NETS, SHAPE, Opened, described, fitted, some_images
from PIL import Image
from torch import nn

from lecture4.data.decode import read_image
from lecture4.data.preprocess import FullScale
from lecture4.lesson.page.look_inside import describe, render_inside
from lecture4.models import ConvNet, SoftmaxClassifier
from lecture4.runs.predictor import Predictor

# The last number that the detail of a place shows, and the layer's.
LAST_AND_TRUE = """(l) => {
  const [C, H, W] = inside.state.net[l].shape;
  const at = { map: C - 1, y: Math.min(2, H - 1), x: Math.min(1, W - 1) };
  inside.choose(l, at);
  const value = inside.state.outputs[l][(at.map * H + at.y) * W + at.x];
  const shown = [...document.querySelectorAll(".detail b")].at(-1).textContent;
  return [shown, inside.words.amount(value)];
}"""
MAPS = "document.querySelector('.maps canvas').toDataURL()"
STICKING_OUT = """() => [...document.querySelectorAll("#inside *")]
  .filter((e) => !e.closest(".scroll") && e.getBoundingClientRect().right > 391)
  .map((e) => e.outerHTML)"""
PEAK = """() => inside.state.outputs[1].slice(0, 144)
  .reduce((m, v, i, a) => (v > a[m] ? i : m), 0)"""


@pytest.fixture
def fresh(inside):
    """The page as it opens."""
    inside.page.reload()
    inside.page.wait_for_selector("html[data-ready=true]")
    return inside


# A reader's own image.


def test_an_own_image_has_the_scores_of_predict(fresh, pipeline, tmp_path):
    draw = np.random.default_rng(1)
    picture = Image.fromarray(draw.integers(0, 256, (30, 50, 4), dtype=np.uint8))
    picture.save(tmp_path / "own.png")
    fresh.page.locator(".own input").set_input_files(tmp_path / "own.png")
    fresh.page.wait_for_function("document.querySelector('#inside-spoken').textContent")
    assert fresh.spoken().startswith("own.png. ")
    expected = read_image(tmp_path / "own.png", 12)
    assert (fresh.pixels() - expected.flatten()).abs().max() <= 1
    scores = Predictor(pipeline, CLASSES).scores(fresh.pixels().view(1, *SHAPE).to(torch.uint8))
    torch.testing.assert_close(fresh.scores(), scores[0], rtol=0, atol=1e-2)
    assert fresh.page.locator("[aria-pressed=true]").count() == 0


def test_a_photograph_is_upright_and_what_is_no_image_is_named(fresh, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    half = Image.new("RGB", (48, 48), "red")
    half.paste("blue", (0, 0, 24, 48))
    half.save(tmp_path / "turned.jpg", exif=exif, quality=95, subsampling=0)
    content = base64.b64encode((tmp_path / "turned.jpg").read_bytes()).decode()
    drop = """async ([text, name]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([inside.net.bytes(text)], name));
      const bubbles = { bubbles: true, cancelable: true, dataTransfer: transfer };
      document.getElementById("inside").dispatchEvent(new DragEvent("drop", bubbles));
    }"""
    fresh.page.evaluate(drop, [content, "turned.jpg"])
    fresh.page.wait_for_function("document.querySelector('#inside-spoken').textContent")
    expected = read_image(tmp_path / "turned.jpg", 12).flatten()
    assert (fresh.pixels() - expected).abs().max() <= 6  # of the JPEG decoders
    before = fresh.pixels()
    fresh.page.evaluate(drop, ["bm8gaW1hZ2U=", "<b>notes.txt"])
    note = fresh.page.locator(".note")
    note.wait_for(state="visible")
    assert note.inner_text() == "<b>notes.txt cannot be read as an image."
    assert torch.equal(fresh.pixels(), before)


# The patch.


def test_a_patch_hides_a_part_and_its_scores_are_torchs(fresh, pipeline):
    box = fresh.image.bounding_box()
    mouse, pixel = fresh.page.mouse, box["width"] / 12
    mouse.move(box["x"] + pixel, box["y"] + pixel)
    mouse.down()
    mouse.move(box["x"] + 6 * pixel, box["y"] + 8 * pixel, steps=3)
    mouse.up()
    patch = fresh.page.evaluate("inside.state.patch")
    assert patch == {"x": 4, "y": 6, "size": 3} or patch == {"x": 5, "y": 7, "size": 3}
    (y, x), size = (patch["y"], patch["x"]), patch["size"]
    prepared = pipeline.preprocess(some_images(2, SHAPE)[:1])
    original = pipeline.model(prepared)[0]
    prepared[:, :, y : y + size, x : x + size] = 0
    hidden = pipeline.model(prepared)[0]
    torch.testing.assert_close(fresh.scores(), hidden, rtol=0, atol=1e-2)
    p, before = hidden.softmax(0), original.softmax(0)
    assert (p - before).abs().max() > 0.02
    for k, row in enumerate(fresh.page.locator(".answer tbody tr").all()):
        name, score, power, probability = row.locator("th, td").all_inner_texts()
        assert name == CLASSES[k]
        assert float(score.replace("−", "-")) == pytest.approx(hidden[k].item(), abs=1e-2)
        assert float(power.replace(",", "")) == pytest.approx(hidden[k].exp().item(), rel=2e-2)
        assert float(probability.split()[0]) == pytest.approx(100 * p[k].item(), abs=0.3)
        for bar, share in (("--now", p), ("--before", before)):
            width = row.locator(".bar").evaluate(f"e => e.style.getPropertyValue('{bar}')")
            assert float(width[:-1]) == pytest.approx(100 * share[k].item(), abs=0.3)
    best = before.argmax()
    assert (
        f"{CLASSES[best]} {100 * p[best]:.1f} %, without the patch {100 * before[best]:.1f} %"
        in fresh.spoken()
    )
    fresh.page.locator("[name=remove]").click()
    torch.testing.assert_close(fresh.scores(), original, rtol=0, atol=1e-2)


def test_keys_move_and_remove_the_patch(fresh):
    fresh.image.focus()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowUp"):
        fresh.page.keyboard.press(key)
    assert fresh.page.evaluate("inside.state.patch") == {"x": 6, "y": 1, "size": 3}
    assert fresh.spoken().startswith("Patch of 3 at row 2, column 7. ")
    assert (fresh.pixels("patched") != fresh.pixels()).sum() > 0
    fresh.page.locator("#inside-size").focus()
    fresh.page.keyboard.press("ArrowRight")
    assert fresh.page.evaluate("inside.state.patch.size") == 4
    fresh.image.focus()
    fresh.page.keyboard.press("Delete")
    assert fresh.page.evaluate("inside.state.patch") is None
    assert fresh.spoken().startswith("Patch removed. ")


def test_without_a_mean_the_patch_is_grey(inside):
    net = described(fitted(*NETS["pairs"]))
    html = render_inside(net)
    assert "127.5" in html
    assert np.frombuffer(base64.b64decode(net["layers"][0]["mean"]), "<f4").tolist() == [0, 0, 0]


# One number.


def test_a_number_is_written_out(fresh, pipeline):
    """The first convolution: products of each colour, their sum, and what the ear hears."""
    at = {"map": 2, "y": 4, "x": 0}
    fresh.page.evaluate("(at) => inside.choose(1, at, true)", at)
    x = pipeline.preprocess(some_images(2, SHAPE)[:1])
    chunk = nn.functional.pad(x, [1] * 4)[0, :, 4:7, 0:3]
    w = pipeline.model.blocks[0].conv.weight[2]
    sums = (w * chunk).sum((1, 2)).tolist()
    words = fresh.spoken().replace("−", "-")
    found = re.fullmatch(
        r"Convolution 3×3, map 3, row 5, column 1: sum of products (\S+): "
        r"red (\S+), green (\S+), blue (\S+)\.", words)  # fmt: skip
    assert [float(v) for v in found.groups()] == pytest.approx([sum(sums), *sums], abs=2e-3)
    cells = [t.replace("−", "-") for t in fresh.detail.locator(".cells span").all_inner_texts()]
    assert len(cells) == 3 * 3 * 9
    for channel in range(3):
        for j, values in enumerate((chunk, w, w * chunk)):
            texts = cells[27 * channel + 9 * j :][:9]
            for text, value in zip(texts, values[channel].flatten().tolist(), strict=True):
                assert float(text or 0) == pytest.approx(value, abs=6e-3)
    assert [cells[i] == "" for i in range(9)] == [True, False, False] * 3  # padding
    assert fresh.detail.locator(".term").last.inner_text().startswith("wᵀx = ")


def test_each_kind_of_layer_is_explained_by_its_own_number(fresh):
    """The last number that is written is the layer's."""
    kinds = fresh.page.evaluate("inside.state.net.map((layer) => layer.kind)")
    assert set(kinds) >= {"preprocess", "convolution", "max", "norm", "activation", "average"}
    for layer, kind in enumerate(kinds):
        shown, value = fresh.page.evaluate(LAST_AND_TRUE, layer)
        assert shown == value, kind


def test_the_mouse_chooses_a_place_and_outlines_its_window(fresh):
    maps = fresh.maps(1)
    before = fresh.maps(0).evaluate("e => e.toDataURL()")
    maps.hover(position={"x": 30, "y": 40})
    chosen = fresh.chosen()
    assert (chosen["l"], chosen["map"]) == (1, 0)
    assert 0 < chosen["x"] < chosen["y"] < 11
    assert fresh.maps(0).evaluate("e => e.toDataURL()") != before
    assert (
        fresh.detail.locator(".where")
        .inner_text()
        .endswith(f"map 1, row {chosen['y'] + 1}, column {chosen['x'] + 1}")
    )
    fresh.page.locator(".answer th button").nth(3).click()
    assert fresh.chosen() == {"l": 8, "map": 3, "y": 0, "x": 0}
    assert fresh.spoken().startswith("Scores, dog: sum of products ")


def test_keys_choose_maps_and_places(fresh):
    fresh.maps(0).focus()
    fresh.page.keyboard.press("Tab")  # to the next layer
    assert fresh.spoken().startswith("Convolution 3×3, map ")
    fresh.page.evaluate("inside.choose(1, { map: 0, y: 0, x: 0 })")
    moves = [
        ("ArrowRight", (0, 0, 1)),
        ("ArrowDown", (0, 1, 1)),
        ("PageDown", (1, 1, 1)),
        ("ArrowLeft", (1, 1, 0)),
        *[("ArrowUp", (1, 0, 0))] * 2,
        *[("PageUp", (0, 0, 0))] * 2,
    ]
    for key, place in moves:
        fresh.page.keyboard.press(key)
        chosen = fresh.chosen()
        assert (chosen["map"], chosen["y"], chosen["x"]) == place, key
        assert f"map {place[0] + 1}, row {place[1] + 1}, column {place[2] + 1}" in fresh.spoken()
    fresh.page.keyboard.press("Enter")
    peak = fresh.page.evaluate(PEAK)
    chosen = fresh.chosen()
    assert (chosen["y"], chosen["x"]) == divmod(peak, 12)
    fresh.maps(7).focus()  # single numbers
    fresh.page.keyboard.press("ArrowRight")
    assert "Mean of each map, number " in fresh.spoken()


# Everybody.


def test_every_control_and_picture_has_words_and_is_reached_by_keys(fresh):
    named = fresh.page.evaluate(
        """[...document.querySelectorAll('#inside :is(input, button, [tabindex])')].map(
          (e) => e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent)"""
    )
    assert len(named) > 15
    assert all(len(words.strip()) > 2 for words in named)
    groups = fresh.page.locator("[role=group]").evaluate_all("g => g.map(e => e.ariaLabel)")
    assert all(len(words) > 20 for words in groups)
    reached = set()
    for _ in range(24):
        fresh.page.keyboard.press("Tab")
        reached.add(
            fresh.page.evaluate(
                "[...document.querySelectorAll('#inside *')].indexOf(document.activeElement)"
            )
        )
    every = fresh.page.evaluate(
        """[...document.querySelectorAll('#inside *')].flatMap((e, i) =>
          e.matches('input, button:not(:disabled), [role=application]') ? [i] : [])"""
    )
    assert set(every) <= reached


def test_a_finger_on_a_phone(browser, inside_path):
    phone = Opened(browser, inside_path, 390, has_touch=True, is_mobile=True)
    page = phone.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(STICKING_OUT) == []
    box = phone.image.bounding_box()
    finger = page.context.new_cdp_session(page)
    for kind, *place in [("touchStart", 0.3, 0.3), ("touchMove", 0.5, 0.8), ("touchEnd",)]:
        sides = zip(("x", "y"), place, ("width", "height"), strict=False)
        touch = {axis: box[axis] + share * box[side] for axis, share, side in sides}
        touches = [touch] if place else []
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    assert page.evaluate("inside.state.patch.y") > 6
    assert page.evaluate("scrollY") == 0
    phone.maps(2).tap(position={"x": 20, "y": 10})
    assert phone.chosen()["l"] == 2
    assert page.locator(".stack figure").nth(2).locator(".detail").count() == 1
    assert phone.spoken().startswith("Max pooling 2×2, map 1, row ")
    assert page.evaluate(STICKING_OUT) == []
    phone.close()


def test_dark_is_dark_and_print_is_light(fresh):
    paper = "() => inside.maps.colour(0)[0]"
    before = fresh.page.evaluate(paper), fresh.page.evaluate(MAPS)
    fresh.page.locator("#theme").click()
    assert fresh.page.evaluate(paper) < 64 < 200 < before[0]
    dark = fresh.page.evaluate(MAPS)
    assert dark != before[1]
    fresh.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert fresh.page.evaluate(MAPS) == before[1]
    fresh.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert fresh.page.evaluate(MAPS) == dark
    fresh.page.emulate_media(media="print")
    assert fresh.detail.is_visible()
    assert not fresh.page.locator(".patch").is_visible()
    fresh.page.emulate_media(media="screen")
    fresh.page.locator("#theme").click()


@pytest.mark.parametrize(
    ("make", "begins"),
    [
        (lambda shape: SoftmaxClassifier(shape, 15), "Scores"),
        (lambda shape: ConvNet(shape, 15, [{"channels": 16, "kernel_size": 1}]), "Convolution 1×1"),
    ],
)
def test_large_maps_many_classes_and_no_images(browser, tmp_path, make, begins):
    pipeline = fitted(make, FullScale, (1, 100, 100))
    net = describe(pipeline, [f"class {k}" for k in range(15)])
    (tmp_path / "page.html").write_text(render_inside(net))
    opened = Opened(browser, tmp_path / "page.html")
    assert opened.page.locator(".note").is_visible()
    assert "no images of its own" in opened.page.locator(".note").inner_text()
    assert (opened.pixels() == 127.5).all()
    assert opened.detail.locator(".where").inner_text().startswith(begins)
    names = opened.page.locator(".answer th button").all_inner_texts()
    order = opened.scores().argsort(descending=True)[:10].tolist()
    assert names == [f"class {k}" for k in order]
    assert all(url.startswith(("file:", "data:")) for url in opened.requests)
    opened.close()
