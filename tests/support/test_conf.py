"""The comments of conf/ are read, and nothing in conf/ is without one."""

import pytest
from omegaconf import OmegaConf

from lecture4.support import conf


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Read a configuration from files: ``written({"optim/sgd.yaml": "…"})``."""

    def write(files: dict[str, str]) -> dict[str, conf.Choice]:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(conf, "CONF", tmp_path)
        return {choice.name: choice for choice in map(conf._read, tmp_path.rglob("*.yaml"))}

    return write


def test_a_key_has_its_path_its_default_and_the_comment_on_its_line(written):
    sgd = written(
        {
            "optim/sgd.yaml": "# Descent\n# More of it.\n_target_: x\nlr: 1e-3 # η\n"
            'name: "a # b" # quoted\nbetas: [0.9, 0.99] # two\nnested: # outer\n  inner: null # i\n'
            "bare: 3\n"
        }
    )["sgd"]
    assert (sgd.group, sgd.package, sgd.meaning) == ("optim", "optim", "Descent")
    assert [(key.path, key.default, key.meaning) for key in sgd.keys] == [
        ("optim.lr", 0.001, "η"),
        ("optim.name", "a # b", "quoted"),
        ("optim.betas", [0.9, 0.99], "two"),
        ("optim.nested", {"inner": None}, "outer"),
        ("optim.nested.inner", None, "i"),
        ("optim.bare", 3, ""),
    ]


def test_a_global_file_sets_keys_at_the_top_and_chooses_in_other_groups(written):
    text = (
        "# @package _global_\n# A net\ndefaults:\n  - small\n  - override /schedule: cosine\n"
        "  - override /data@_global_.data: shapes\nmodel:\n  width: 3 # of it\n"
        "hydra:\n  mode: RUN\n"
    )
    net = written({"model/net.yaml": text})["net"]
    assert (net.group, net.package, net.meaning) == ("model", "", "A net")
    assert [key.path for key in net.keys] == ["model", "model.width"]
    assert net.includes == ("small",)
    assert net.chooses == {"schedule": "cosine", "data": "shapes"}


def test_numbers_are_read_as_hydra_reads_them():
    for choice in conf.choices():
        path = conf.CONF / choice.group / f"{choice.name}.yaml"
        content = OmegaConf.to_container(OmegaConf.load(path))
        for key in choice.keys:
            name = key.path.removeprefix(f"{choice.package}." if choice.package else "")
            node = content
            for part in name.split("."):
                node = node[part]
            assert (key.default, type(key.default)) == (node, type(node)), key


def test_groups_come_with_the_comment_in_the_defaults_list():
    found = {group.name: group for group in conf.groups()}
    assert found["model"].default == "convnet"
    assert found["experiment"].default is None
    folders = {path.name for path in conf.CONF.iterdir() if path.is_dir()}
    assert set(found) == folders - {"hydra", "schema"}


def test_every_group_choice_and_key_has_its_comment():
    groups = {group.name: group.meaning for group in conf.groups()}
    assert [name for name, meaning in groups.items() if not meaning] == []
    # what a commented mapping passes on, and the name of a group, which train.yaml comments
    passed_on = ("recipe.", "data.source.")
    bare = [
        f"{choice.group}/{choice.name}: {key.path}"
        for choice in conf.choices()
        for key in choice.keys
        if not key.meaning and key.path not in groups and not key.path.startswith(passed_on)
    ]
    assert bare == []
    titles = {f"{choice.group}/{choice.name}": choice.meaning for choice in conf.choices()}
    assert [name for name, meaning in titles.items() if not meaning or ":" in meaning[:1]] == []
    for choice in conf.choices():
        first = (conf.CONF / choice.group / f"{choice.name}.yaml").read_text().splitlines()
        assert first[choice.package == "" and choice.group != ""].startswith("# "), choice.name
