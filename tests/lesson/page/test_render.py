import copy

import pytest
from claiming import SmallLab
from running import ROOT

from lecture4.lesson import report
from lecture4.lesson.lab import Published
from lecture4.lesson.page.render import _rounded, _together, address, amount, render_page
from lecture4.lesson.progress import ClaimProgress


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.41234, "", "0.4123"),
        (41.2, "%", "41.2 %"),
        (41.26789, "%", "41.27 %"),
        (-3.0, "", "−3"),
        (0.0, "nats", "0 nats"),
        (1234567, "", "1,234,567"),
        (12345.6, "", "12,346"),
        (1.5e-7, "", "1.50e−07"),
        (2.0e9, "", "2.00e+09"),
        (0.00123456, "", "0.0012"),
        (100.0, "", "100"),
        (True, "", "True"),
        ("does not fit", "", "does not fit"),
    ],
)
def test_amounts_are_as_long_as_they_are_worth(value, unit, text):
    assert amount(value, unit) == text


def test_runs_that_differ_in_the_seed_alone_are_one_sweep():
    commands = [
        "python train.py data=shapes model=mlp seed=0",
        "python train.py data=shapes model=softmax seed=0",
        "python train.py data=shapes model=mlp seed=1",
    ]
    assert _together(commands) == [
        "python train.py -m data=shapes model=mlp seed=0,1",
        "python train.py data=shapes model=softmax seed=0",
    ]


def test_floats_keep_six_digits_and_gaps_are_null():
    assert _rounded({"a": (1 / 3, 7, "x", None, float("nan"))}) == {
        "a": [0.333333, 7, "x", None, None]
    }


@pytest.fixture(scope="module")
def measured():
    return report.measure(["arithmetic"], SmallLab(), ClaimProgress(["arithmetic"]))


@pytest.fixture
def told(measured):
    return copy.deepcopy(measured)


def text(told, page=None):
    return " ".join(render_page(told, page).split())


def test_sources_are_linked_from_a_page_in_the_checkout(told, tmp_path):
    file = ROOT / "lecture4" / "byhand" / "init.py"
    assert address(file, ROOT / "lecture.html") == "lecture4/byhand/init.py"
    page = ROOT / "outputs" / "a day" / "lecture.html"
    assert address(file, page) == "../../lecture4/byhand/init.py"
    assert address(ROOT / "a b.py", page) == "../../a%20b.py"
    assert address(file, tmp_path / "lecture.html") is address(file, None) is None
    assert '<a href="../lecture4/models/' in text(told, ROOT / "outputs" / "lecture.html")
    assert 'href="..' not in text(told, tmp_path / "lecture.html")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"commit": "abc1234 (2026-11-27)", "changed": False}, "Claim as of commit abc1234 (2026-"),
        ({"commit": "abc1234", "changed": True}, "Claim with uncommitted changes after commit abc"),
        ({"commit": None, "changed": True}, "Claim, in no commit: sha256 of"),
        ({"commit": None, "changed": False}, "Claim: sha256 of"),
    ],
)
def test_the_page_names_commit_and_hash_of_a_claim(told, source, words):
    told["claims"][0]["source"].update(source)
    shown = text(told)
    assert words in shown
    assert f"<code>{told['claims'][0]['source']['sha256']}</code>" in shown


def test_a_bound_that_changed_is_marked(told):
    finding = told["claims"][0]["findings"][0]
    first = {"at_least": 0.5, "at_most": None, "judged": "2026-11-26T10:00:00+00:00"}
    for known in (None, {**first, "at_least": finding["at_least"], "at_most": finding["at_most"]}):
        finding["first"] = known
        assert "bound changed after measuring" not in text(told)
    finding["first"] = first
    assert "bound changed after measuring: was ≥ 0.5 on 2026-11-26<" in text(told)


def test_published_numbers_are_beside_ours(told):
    assert "Published beside measured" not in text(told)
    words = {"reported": "21 % and 16 %", "source": "A 2020", "differs": "Theirs: <b>."}
    number = Published("local search, minus random", 5.0, [3.0, 4.0, 5.0], **words)
    told["claims"][0]["published"] = [report._beside(number)]
    shown = text(told)
    assert "5 points <span" in shown
    assert "(21 % and 16 %; A 2020)" in shown
    assert "4 points <span" in shown
    assert "interval 1.516 to 6.484, n = 3)" in shown
    assert '<span class="badge" data-verdict="agrees">agrees</span>' in shown
    assert "Theirs: &lt;b&gt;. Theirs: CIFAR-10, ours: drawn shapes." in shown
    told["data"]["name"] = "cifar10"
    assert "ours: drawn shapes" not in text(told)
