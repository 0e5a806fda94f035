"""The page, made by lecture.py itself, and a real browser to open it in."""

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from looking import BATCH, SHAPE, Opened, convnet, described, fitted
from running import command

from lecture4.data.preprocess import ChannelMean
from lecture4.lesson.page.look_inside import render_inside

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Made:
    """A page, and the report that it shows."""

    path: Path
    report: dict
    shown: dict[int, "Shown"] = field(default_factory=dict)


@pytest.fixture(
    scope="session", params=["some claims", pytest.param("all claims", marks=pytest.mark.slow)]
)
def made(request, tmp_path_factory):
    """What ``python lecture.py`` leaves; CIFAR-10 is where the environment says, if anywhere."""
    folder = tmp_path_factory.mktemp("page")
    few = ["claims=[backprop,arithmetic]"] if request.param == "some claims" else []
    there = {k: os.environ[k] for k in ("CIFAR10_ROOT",) if k in os.environ}
    done = command(
        *few,
        "hydra.run.dir=out",
        cwd=folder,
        script="lecture.py",
        timeout=1800,
        **there,
    )
    assert done.returncode == 0, done.stderr
    out = folder / "out"
    return Made(out / "lecture.html", json.loads((out / "claims.json").read_text()))


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window; ``make browser`` installs it."""
    from playwright.sync_api import Error, sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as engine:
        try:
            opened = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error:
            pytest.skip("no Chromium here; make browser installs it")
        yield opened
        opened.close()


class Shown:
    """A page that is open, and what the browser complained about."""

    def __init__(self, browser, path, width, **options):
        self.complaints, self.requests = [], []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.page.on("console", lambda m: m.type in ("error", "warning") and self._note(m.text))
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=true]", timeout=60_000)

    def _note(self, text):
        self.complaints.append(text)


@pytest.fixture(scope="session")
def show(browser):
    """Open a page: ``show(made, 390)``, once for each page and width."""

    def shown(made, width):
        if width not in made.shown:
            made.shown[width] = Shown(browser, made.path, width)
        return made.shown[width]

    return shown


@pytest.fixture(scope="module")
def pipeline():
    made = fitted(convnet({**BATCH, "pool": {}}, {"channels": 6}), ChannelMean, SHAPE)
    made.model.scores.weight.data *= 5  # a patch is to change the probabilities
    return made


@pytest.fixture(scope="module")
def inside_path(pipeline, tmp_path_factory):
    file = tmp_path_factory.mktemp("inside") / "inside.html"
    file.write_text(render_inside(described(pipeline, SHAPE)))
    return file


@pytest.fixture(scope="module")
def inside(browser, inside_path):
    """For what leaves the page as it was."""
    opened = Opened(browser, inside_path)
    yield opened
    opened.close()
