import torch

from lecture4.lesson.lab import cache
from lecture4.lesson.lab.cache import Cache


def test_what_is_stored_comes_back(tmp_path):
    kept = Cache(tmp_path / "new")
    value = {"history": [{"loss": 1.5}], "weights": {"w": torch.ones(2)}}
    key = kept.key("run", {"lr": 0.1})
    kept.store(key, value)
    back = kept.load(key)
    assert back["history"] == value["history"]
    assert torch.equal(back["weights"]["w"], torch.ones(2))


def test_nothing_stored_is_none(tmp_path):
    assert Cache(tmp_path).load("run-1") is None


def test_a_broken_file_counts_as_none(tmp_path):
    kept = Cache(tmp_path)
    kept.store("run-1", {"a": 1})
    whole = (tmp_path / "run-1.pt").read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"\0" * len(whole)):
        (tmp_path / "run-1.pt").write_bytes(broken)
        assert kept.load("run-1") is None


def test_the_key_depends_on_every_part_and_on_the_code(tmp_path, monkeypatch):
    kept = Cache(tmp_path)
    keys = {kept.key("a", 1), kept.key("b", 1), kept.key("a", 2), kept.key("a", 1, 2)}
    monkeypatch.setattr(cache, "code_version", lambda: "other")
    keys.add(kept.key("a", 1))
    assert len(keys) == 5


def test_a_version_follows_its_own_files(tmp_path, monkeypatch):
    package, conf = tmp_path / "lecture4", tmp_path / "conf"
    formula, claim, page, choice = files = (
        package / "byhand/a.py",
        package / "lesson/claims/a.py",
        package / "lesson/page/a.py",
        conf / "a.yaml",
    )
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text("1")
    monkeypatch.setattr(cache, "PACKAGE", package)
    monkeypatch.setattr(cache, "CONF", conf)

    def versions():
        return cache.code_version.__wrapped__(), cache.claims_version()

    code, claims = versions()
    page.write_text("2")
    assert versions() == (code, claims)
    claim.write_text("2")
    assert versions()[0] == code
    assert versions()[1] != claims
    claims = versions()[1]
    formula.write_text("2")
    second = versions()[0]
    choice.write_text("2")
    assert len({code, second, versions()[0]}) == 3
    assert versions()[1] == claims
