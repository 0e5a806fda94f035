"""lecture.py: cache, report, progress, errors; what the claims measure has tests of its own."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, is_dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import get_type_hints

import pytest
from running import ROOT, call, clean_environment, command

from lecture4.lesson import report
from lecture4.lesson.claims import NAMES, claim
from lecture4.lesson.lab import Finding, Lab, Published
from lecture4.lesson.progress import ClaimProgress
from lecture4.lesson.provenance import source_of

CHEAP = ["claims=[backprop,arithmetic]", "data.name=shapes"]


@dataclass
class Measured:
    accuracy: list[float]


@pytest.fixture
def counted(monkeypatch):
    """A claim that counts how often it is measured."""
    measured = []

    def measure(lab) -> Measured:
        measured.append(lab.seeds(3))
        lab.commands.append("python train.py seed=0")
        return Measured([0.5, 0.6, 0.7])

    tested = SimpleNamespace(
        TITLE="Counted",
        measured=measured,
        measure=measure,
        __file__=__file__,
        judge=lambda m: [Finding("learned", "accuracy", m.accuracy, at_least=0.1, why="chance")],
    )
    monkeypatch.setattr(report, "claim", lambda name: tested)
    return tested


def entry(**lab):
    return report.measure(["counted"], Lab(**lab), ClaimProgress(["counted"]))["claims"][0]


def test_what_was_measured_is_not_measured_again(counted, tmp_path, capsys):
    first, again = (entry(cache=tmp_path / "kept") for _ in range(2))
    assert again == first
    assert counted.measured == [[0, 1, 2]]
    assert "measured before" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("other", [{"budget": "full"}, {"seed": 1}])
def test_another_configuration_is_measured_anew(counted, tmp_path, other):
    entry(cache=tmp_path / "kept")
    entry(cache=tmp_path / "kept", **other)
    assert len(counted.measured) == 2


def test_another_version_of_the_claims_is_measured_anew(counted, tmp_path, monkeypatch):
    entry(cache=tmp_path / "kept")
    monkeypatch.setattr(report, "claims_version", lambda: "second version")
    entry(cache=tmp_path / "kept")
    assert len(counted.measured) == 2


def test_without_a_cache_nothing_is_kept(counted):
    assert entry()["measurements"] == entry()["measurements"]
    assert len(counted.measured) == 2


def test_the_report_holds_numbers_bounds_verdict_and_commands(counted):
    told = entry()
    assert told["verdict"] == "holds"
    assert told["commands"] == ["python train.py seed=0"]
    finding = told["findings"][0]
    assert finding["values"] == [0.5, 0.6, 0.7]
    assert finding["mean"] == pytest.approx(0.6)
    assert (finding["at_least"], finding["at_most"]) == (0.1, None)
    assert (finding["name"], finding["why"]) == ("learned", "chance")
    assert finding["first"] is None  # without a cache
    assert told["published"] == []


def test_a_bound_that_changed_keeps_that_of_the_first_run(counted, tmp_path, monkeypatch):
    first = entry(cache=tmp_path / "kept")["findings"][0]["first"]
    assert (first["at_least"], first["at_most"]) == (0.1, None)
    counted.judge = lambda m: [Finding("learned", "…", m.accuracy, at_least=0.05)]
    monkeypatch.setattr(report, "claims_version", lambda: "second version")
    later = entry(cache=tmp_path / "kept", seed=1)["findings"][0]
    assert len(counted.measured) == 2
    assert (later["at_least"], later["first"]) == (0.05, first)


def test_the_report_holds_the_source_and_published_numbers(counted):
    words = {"reported": "25 %", "source": "A 2020", "differs": "…"}
    counted.published = lambda m: [Published("gain", -1, m.accuracy, **words)]
    told = entry()
    assert told["source"] == source_of(Path(__file__))
    [number] = told["published"]
    assert (number["theirs"], number["ours"]) == (-1, [0.5, 0.6, 0.7])
    assert (number["direction"], number["source"]) == ("disagrees", "A 2020")
    assert number["mean"] == pytest.approx(0.6)


def test_a_measurement_that_is_not_a_number_is_refused(counted):
    counted.measure = lambda lab: Measured([float("nan")])
    with pytest.raises(ValueError, match="JSON"):
        entry()


def test_every_name_is_a_claim_and_every_file_a_name():
    folder = ROOT / "lecture4" / "lesson" / "claims"
    files = sorted(f.stem for f in folder.glob("s*_*.py"))
    assert [re.sub(r"^s\d\d_", "", file) for file in files] == list(NAMES)
    assert [int(file[1:3]) for file in files] == list(range(1, 19))


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_has_all_its_parts_and_a_plain_text(name):
    tested = claim(name)
    assert all((tested.TITLE, tested.FORMULAS, tested.CODE))
    assert not any(mark in tested.TEXT for mark in ("$", "\\", "<", "`", "**"))
    assert is_dataclass(get_type_hints(tested.measure)["return"])


run = partial(call, script="lecture.py")


@pytest.mark.slow
def test_some_claims_make_a_page_of_their_own(tmp_path):
    start = partial(command, script="lecture.py", cwd=tmp_path)
    done = start(*CHEAP, "copy_to=copy.html", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert [c["name"] for c in report["claims"]] == [
        "backprop",
        "arithmetic",
    ]  # the lecture's order
    page = (tmp_path / "out" / "lecture.html").read_text()
    assert '<section id="arithmetic"' in page
    assert '<section id="rings"' not in page
    assert "Images are drawn shapes" in page
    assert "CIFAR-10 was not found" not in page
    assert (tmp_path / "copy.html").exists()
    assert " 1/2  backprop" in done.stdout
    assert "out/lecture.html" in done.stdout
    assert "2 claims on shapes, budget=quick: 2 hold; " in done.stdout
    assert ">2 hold</span>" in page
    again = run(*CHEAP, cwd=tmp_path)
    assert again.stdout.count("measured before") == 2


def test_help_names_every_claim_and_every_setting():
    told = run("--help").stdout
    claims = told.partition("\nClaims\n")[2].partition("\nKeys\n")[0].split()
    assert claims == list(NAMES)
    keys = ("claims", "budget", "seed", "data.name", "data.root", "cache", "copy_to")
    assert all(f"    {key}" in told for key in keys)
    assert "optim" not in told


def test_shapes_stand_in_for_cifar10_and_the_page_says_so(tmp_path):
    done = run("claims=[arithmetic]", "hydra.run.dir=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "drawn shapes, because CIFAR-10 was not found" in (
        tmp_path / "out" / "lecture.html"
    ).read_text().replace("\n", " ")


@pytest.mark.slow
def test_an_interrupted_run_continues(tmp_path):
    arguments = ["claims=[backprop,bugs]", "data.name=shapes"]
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "lecture.py"), *arguments],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for line in process.stdout:
        if "bugs" in line:
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 130
    assert "interrupted at bugs; 1 of 2 claims are kept" in errors
    assert "Traceback" not in errors
    done = command(*arguments, cwd=tmp_path, script="lecture.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("measured before") == 1


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (
            "claims=[rings,foo]",
            "claims=['rings', 'foo'] is not accepted; it must be all,",
        ),
        ("claims=[]", "claims=[] is not accepted"),
        ("claims=7", "claims=7 is not accepted"),
        ("claims={rings: 1}", "claims={'rings': 1} is not accepted"),
        ("claims=rings,init", "claims=rings,init: a list is written [a,b]"),
        ("budget=long", "budget=long is not accepted; it must be quick or full"),
        ("seed=-1", "seed=-1 is not accepted"),
        ("seed=4294967295", "seed=4294967295 is not accepted"),  # the seeds after it are too large
        ("data=shapes", "data is set by its parts: data.name, data.root"),
        ("data.name=mnist", "data.name=mnist is not accepted; it must be auto, cifar10 or shapes"),
        ("optim.lr=1", "optim.lr is not a setting of these choices; it belongs to optim=adam"),
        ("bugdet=full", "bugdet is not a setting; did you mean budget?"),
        (
            "copy_to=no/such/folder.html",
            "copy_to=no/such/folder.html is not accepted; it must be a file",
        ),
        ("cache=taken", "taken: File exists"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, argument, said):
    (tmp_path / "taken").write_text("a file")
    done = run(argument, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {said}")
    assert len(done.stderr.splitlines()) <= 2


def test_train_py_says_where_a_key_of_the_lecture_belongs(tmp_path):
    done = call("budget=full", cwd=tmp_path)
    assert done.stderr == (
        "error: budget is not a setting of these choices; it belongs to python lecture.py\n"
    )
