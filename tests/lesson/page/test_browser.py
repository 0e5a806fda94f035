"""The page in a real browser: drawn, within its borders, without warnings, interactive."""

import inspect
import re
import shlex
import textwrap

import pytest
from running import ROOT, compose

from lecture4.lesson.claims import claim
from lecture4.training.settings import check

WIDTHS = pytest.mark.parametrize("width", [390, 1400])

# Elements that stick out on the right, but for those inside of a part that scrolls or clips.
STICKING_OUT = """() => [...document.body.querySelectorAll('*')]
  .filter(e => !e.closest('.scroll, .formula, .skip') && !e.parentElement.closest('svg'))
  .map(e => [e, e.getBoundingClientRect()])
  .filter(([e, box]) => box.width > 0 && box.right > document.documentElement.clientWidth + 1)
  .map(([e]) => `${e.closest('section')?.id}: ${e.tagName} ${e.textContent.slice(0, 40)}`)"""

# Texts of a figure that are cut off at its border.
CUT_OFF = """() => [...document.querySelectorAll('.drawn')].flatMap(plot => {
  const frame = plot.getBoundingClientRect();
  return [...plot.querySelectorAll('.main-svg text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.width > 0 && (box.left < frame.left - 2 || box.right > frame.right + 2
      || box.top < frame.top - 2 || box.bottom > frame.bottom + 2);
  }).map(text => `${plot.id || plot.parentElement.id}: ${text.textContent}`);
})"""

# Figures without a mark in them: a line, a point, a bar, a picture, a shape or a note.
EMPTY = """() => {
  const layers = ['scatter', 'bar', 'heatmap', 'contour', 'box', 'violin', 'shape', 'image'];
  const marks = layers.map(l => `.${l}layer path, .${l}layer image`).join() + ', .annotation';
  const large = box => box.width + box.height > 4;
  return [...document.querySelectorAll('div.plot')].filter(plot =>
    !plot.classList.contains('drawn')
    || ![...plot.querySelectorAll(marks)].some(m => large(m.getBoundingClientRect()))
  ).map(plot => plot.id || plot.parentElement.id);
}"""

# Seen by a reader's eye: how light a colour is, from 0 to 255.
LIGHTNESS = """() => Math.max(...getComputedStyle(document.body).backgroundColor
  .match(/[0-9]+/g).slice(0, 3).map(Number))"""


@WIDTHS
def test_the_browser_has_nothing_to_complain_of(made, show, width):
    shown = show(made, width)
    assert shown.complaints == []


@WIDTHS
def test_it_needs_no_network(made, show, width):
    assert all(url.startswith(("file:", "data:", "blob:")) for url in show(made, width).requests)


@WIDTHS
def test_every_figure_is_drawn(made, show, width):
    page = show(made, width).page
    assert page.locator(".plot").count() >= len(made.report["claims"]) / 2
    assert page.evaluate(EMPTY) == []


@WIDTHS
def test_nothing_sticks_out(made, show, width):
    page = show(made, width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(STICKING_OUT) == []


@WIDTHS
def test_no_text_of_a_figure_is_cut_off(made, show, width):
    assert show(made, width).page.evaluate(CUT_OFF) == []


def test_the_contents_lead_to_every_claim_and_show_its_verdict(made, show):
    page = show(made, 1400).page
    entries = page.locator("nav a")
    assert entries.count() == len(made.report["claims"])
    for i, told in enumerate(made.report["claims"]):
        link = entries.nth(i)
        assert link.get_attribute("href") == f"#{told['name']}"
        assert link.locator(".badge").inner_text() == told["verdict"]
        assert page.locator(f"section#{told['name']} h2 .badge").inner_text() == told["verdict"]


def test_every_picture_has_words(made, show):
    page = show(made, 1400).page
    for shown in page.locator("[role=img], [role=group]").all():
        assert len(shown.get_attribute("aria-label")) > 20
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("figure:not(:has(figcaption))").count() == 0


def test_formulas_are_typeset(made, show):
    page = show(made, 1400).page
    assert page.locator(".formula math").count() == page.locator(".formula").count() > 0
    assert page.evaluate(
        "[...document.querySelectorAll('math')].every(m => m.getBoundingClientRect().height > 10)"
    )
    assert not re.search(r"\\[a-z]+", page.locator("main").inner_text())


def test_a_click_turns_it_dark_and_back(made, show):
    page = show(made, 1400).page
    ink = "getComputedStyle(document.querySelector('.plot .xtick text, .plot text')).fill"
    paper = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ink), page.evaluate(paper)
    page.click("#theme")
    after = page.evaluate(ink), page.evaluate(paper)
    assert before[0] != after[0]
    assert before[1] != after[1]
    page.click("#theme")
    assert (page.evaluate(ink), page.evaluate(paper)) == before


def test_it_follows_the_readers_dark_setting(made, browser):
    page = browser.new_page(color_scheme="dark")
    page.goto(made.path.as_uri())
    page.wait_for_selector("html[data-theme=dark]")
    assert page.evaluate(LIGHTNESS) < 64
    page.close()


def test_it_prints_on_white(made, browser):
    page = browser.new_page(color_scheme="dark")
    page.goto(made.path.as_uri())
    page.wait_for_selector("html[data-ready=true]")
    page.emulate_media(media="print")
    assert page.evaluate(LIGHTNESS) == 255
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()


def test_every_command_is_one_that_train_py_takes(made, show):
    for told in made.report["claims"]:
        for line in told["commands"]:
            words = shlex.split(line)
            assert words[:2] == ["python", "train.py"]
            cfg = compose(*words[2:])
            del cfg.hydra
            check(cfg)


def test_it_is_small_enough_to_send(made):
    assert made.path.stat().st_size <= 12e6


def test_every_link_stays_on_the_page(made, show):
    for link in show(made, 1400).page.locator("a[href]").all():
        assert link.get_attribute("href").startswith("#")


HEAR = """window.heard = [];
new MutationObserver(() => heard.push(document.getElementById('shared').textContent))
  .observe(document.getElementById('shared'), { childList: true });"""
COPIED = "(address) => navigator.clipboard.readText().then((text) => text === address)"


def test_every_section_has_a_link_that_is_copied(made, show):
    page = show(made, 1400).page
    page.evaluate(HEAR)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.mouse.move(0, 0)
    page.keyboard.press("Tab")  # focus is visible after a key, not after a click
    for told in made.report["claims"]:
        address = f"{made.path.as_uri()}#{told['name']}"
        link = page.locator(f"section#{told['name']} h2").get_by_label("Link to this section")
        assert link.evaluate("e => getComputedStyle(e).opacity") == "0"
        link.focus()
        assert link.evaluate("e => getComputedStyle(e).opacity") == "1"
        link.press("Enter")
        page.wait_for_function(COPIED, arg=address)
        assert page.url == address
    times = len(made.report["claims"])
    page.wait_for_function(
        "(n) => heard.filter((t) => t === 'Link copied').length === n", arg=times
    )
    page.wait_for_function("document.getElementById('shared').textContent === ''")


# Chromium without a window has no sheet on which a phone shows its apps.
PHONE = """navigator.canShare = () => true;
navigator.share = async (shown) => { document.body.dataset.shared = shown.url; };"""


def test_a_phone_shares_the_link_of_a_section(made, browser):
    screen = {"width": 390, "height": 800}
    page = browser.new_page(has_touch=True, is_mobile=True, viewport=screen)
    page.add_init_script(PHONE)
    page.goto(made.path.as_uri())
    name = made.report["claims"][0]["name"]
    link = page.locator(f"section#{name} .anchor")
    assert float(link.evaluate("e => getComputedStyle(e).opacity")) > 0.5
    link.tap()
    page.wait_for_function("document.body.dataset.shared")
    assert page.evaluate("document.body.dataset.shared") == f"{made.path.as_uri()}#{name}"
    assert page.locator("#shared").inner_text() == ""
    page.close()


def test_the_source_of_the_formulas_is_on_the_page(made, show):
    page = show(made, 1400).page
    for told in made.report["claims"]:
        parts = page.locator(f"section#{told['name']} details.source")
        code = claim(told["name"]).CODE
        assert parts.count() == len(code)
        for i, thing in enumerate(code):
            words = parts.nth(i).locator("summary").inner_text()
            file, _, line = words.split()[-1].partition(":")
            assert words.startswith(thing.__qualname__)
            lines, first = inspect.getsourcelines(thing)
            assert inspect.getsourcefile(inspect.unwrap(thing)) == str(ROOT / file)
            assert int(line) == first
            shown = parts.nth(i).locator("pre").text_content()
            assert shown.strip() == textwrap.dedent("".join(lines)).strip()


@WIDTHS
def test_opened_sources_stay_within_the_page(made, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(made.path.as_uri())
    page.wait_for_selector("html[data-ready=true]")
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(STICKING_OUT) == []
    page.close()


def answers(widget):
    """What a widget shows: its words, and what its figures are drawn from."""
    words = widget.evaluate(
        "w => [...w.querySelectorAll('output, td, .value')].map(e => e.textContent).join('|')"
    )
    drawn = widget.evaluate(
        "w => JSON.stringify([...w.querySelectorAll('.drawn')].map(p => [p.data, p.layout.shapes]))"
    )
    return words, drawn


def move(part):
    """Give a control another value, as its user would."""
    if part.evaluate("e => e.tagName") == "SELECT":
        other = part.evaluate("e => [...e.options].map(o => o.value).find(v => v !== e.value)")
        part.select_option(other)
    elif part.evaluate("e => e.tagName") == "BUTTON":
        part.click()
    elif part.get_attribute("type") == "range":
        at_end = part.evaluate("e => Number(e.value) >= Number(e.max)")
        part.focus()
        for _ in range(3):
            part.press("ArrowLeft" if at_end else "ArrowRight")
    else:
        part.fill(str(int(part.input_value()) + 1))


@WIDTHS
def test_every_part_of_every_widget_answers(made, show, width):
    shown = show(made, width)
    widgets = shown.page.locator(".widget .answers").all()
    assert widgets
    for widget in widgets:
        parts = widget.locator("input, select, button").all()
        assert parts
        for part in parts:
            before = answers(widget)
            move(part)
            shown.page.wait_for_timeout(150)
            name = f"{widget.get_attribute('id')}: {part.evaluate('e => e.outerHTML')}"
            assert answers(widget) != before, name
    assert shown.complaints == []
    assert shown.page.evaluate(STICKING_OUT) == []
