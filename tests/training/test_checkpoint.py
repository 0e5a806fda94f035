"""Checkpoints: plain values that rebuild the classifier; reading one runs none of its code."""

import copy
import os
import pickle
import zipfile
from types import SimpleNamespace

import pytest
import torch
from running import assert_same

from lecture4.data import preprocess
from lecture4.models import MLP
from lecture4.models.pipeline import Pipeline
from lecture4.training import formulas
from lecture4.training.checkpoint import KEYS, card, read_checkpoint, rebuild

NAMES = ["cat", "dog", "ship"]
IMAGES = torch.arange(4 * 48, dtype=torch.uint8).view(4, 3, 4, 4)


def checkpoint(name="torch", dtype=torch.float32):
    """A pipeline, and what a run saves of it."""
    torch.manual_seed(0)
    family = formulas.find(name)
    prepare = preprocess.ChannelStandardize((3, 4, 4)).fit(IMAGES)
    net = MLP((3, 4, 4), 3, [8], layers=family.nn)
    pipeline = Pipeline(prepare, net).to(dtype).eval()
    classifier = SimpleNamespace(
        model=net, preprocess=prepare, formulas=family, class_names=NAMES,
        metrics={"val/accuracy": 0.5}, device=torch.device("cpu"), test_time="none",
    )  # fmt: skip
    dataset = SimpleNamespace(source={"name": "rings"}, description={"class_names": NAMES})
    data = SimpleNamespace(eval_batch_size=25, dataset=dataset)
    content = {
        "classifier": card(classifier, data, "32-true"),
        "state_dict": {**pipeline.state_dict(), "augment.draws": torch.zeros(1)},
        "epoch": 3,
    }
    return pipeline, content


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["torch", "byhand"])
def test_a_checkpoint_rebuilds_the_classifier_bit_for_bit(tmp_path, name, dtype):
    pipeline, content = checkpoint(name, dtype)
    torch.save(content, tmp_path / "best.ckpt")
    again = rebuild(read_checkpoint(tmp_path / "best.ckpt")).eval()
    assert torch.equal(again(IMAGES), pipeline(IMAGES))
    assert {p.dtype for p in again.parameters()} == {dtype}
    assert again.model.scores.__class__ is formulas.find(name).nn.Linear


def test_the_card_holds_every_key_that_is_read():
    _, content = checkpoint()
    assert tuple(content["classifier"]) == (*KEYS, "data")
    assert content["classifier"]["model"]["name"] == "MLP"
    assert content["classifier"]["formulas"] == "torch"


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def as_pickle(thing, path):
    path.write_bytes(pickle.dumps(thing))


def as_old_pickle(thing, path):
    path.write_bytes(pickle.dumps(thing, protocol=2))


def as_torch_zip(thing, path):
    torch.save(thing, path)


def as_old_torch_file(thing, path):
    torch.save(thing, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [as_pickle, as_old_pickle, as_torch_zip, as_old_torch_file])
@pytest.mark.parametrize("hidden", [False, True])
def test_code_in_a_checkpoint_does_not_run(tmp_path, write, hidden):
    touched, path = tmp_path / "touched", tmp_path / "bad.ckpt"
    malice = Malice(f"touch {touched}")
    write({**checkpoint()[1], "more": [malice]} if hidden else malice, path)
    with pytest.raises(ValueError, match="bad.ckpt: ") as caught:
        read_checkpoint(path)
    if write in (as_torch_zip, as_old_torch_file):
        assert "(posix.system), which could run code" in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert not touched.exists()
    try:  # the test proves something only if the code runs where it is allowed to
        torch.load(path, weights_only=False)
    except Exception:
        pickle.loads(path.read_bytes())
    assert touched.exists()


def truncated(path, content):
    torch.save(content, path)
    path.write_bytes(path.read_bytes()[:-1000])


def foreign_zip(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", "nothing")


def without(*keys):
    def save(path, content):
        place = content
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]
        torch.save(content, path)

    return save


UNKNOWN = "does not describe a classifier"
FOREIGN = {
    "text": (lambda path, c: path.write_text("accuracy: 99%\n"), "damaged"),
    "empty": (lambda path, c: path.write_bytes(b""), "damaged"),
    "bytes": (lambda path, c: path.write_bytes(bytes(range(256)) * 9), "damaged"),
    "truncated": (truncated, "damaged"),
    "another zip": (foreign_zip, "damaged"),
    "a tensor": (lambda path, c: torch.save(torch.ones(3), path), UNKNOWN),
    "a state_dict": (lambda path, c: torch.save(c["state_dict"], path), UNKNOWN),
    "of another project": (without("classifier"), UNKNOWN),
    "without weights": (without("state_dict"), UNKNOWN),
    "of an older version": (without("classifier", "formulas"), "its classifier lacks formulas"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_in_a_sentence(tmp_path, name):
    write, part = FOREIGN[name]
    path = tmp_path / "other.ckpt"
    write(path, checkpoint()[1])
    with pytest.raises(ValueError, match=part) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path):
    path = tmp_path / "flipped.ckpt"
    _, content = checkpoint()
    torch.save(content, path)
    good, refused = path.read_bytes(), 0
    for place in range(0, len(good), max(1, len(good) // 150)):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = read_checkpoint(path)
        except ValueError:
            refused += 1
        else:  # in padding, or a date
            assert_same(found, content)
    assert refused > 20


def model(**settings):
    return lambda c: c["classifier"]["model"].update(settings)


def described(**values):
    return lambda c: c["classifier"].update(values)


def state(name, tensor):
    return lambda c: c["state_dict"].update({name: tensor})


def lose(c):
    del c["state_dict"]["preprocess.mean"]


W = torch.zeros(3, 8)
# name: (a change of a good checkpoint, what the sentence contains)
WRONG = {
    "unknown model": (model(name="Sequential"), "model is 'Sequential'; known are Softmax"),
    "a module for a model": (model(name="torch"), "model is 'torch'"),
    "no name": (model(name=["MLP"]), r"model is \['MLP'\]"),
    "unknown preprocess": (described(preprocess="nn"), "preprocess is 'nn'; known are"),
    "private preprocess": (described(preprocess="_ImagePreprocess"), "preprocess is '_ImageP"),
    "unknown formulas": (described(formulas="os"), "formulas is 'os'; known are torch, byhand"),
    "a file of formulas": (described(formulas="./mine.py"), "formulas is './mine.py'"),
    "unknown setting": (model(depth=3), "cannot be built: .*depth"),
    "layers of its own": (model(layers="os"), "cannot be built: .*layers"),
    "unknown init": (model(init="\x1b[2J"), r"cannot be built: init=\\x1b\[2J is unknown"),
    "no input shape": (model(input_shape=None), "cannot be built"),
    "another input shape": (model(input_shape=[3, 5, 4]), "size mismatch for model.hidden"),
    "a weight is missing": (lose, 'Missing key.*"preprocess.mean"'),
    "a weight too many": (state("model.extra", W), 'Unexpected key.*"model.extra"'),
    "a weight of another shape": (state("model.scores.weight", W[:, 1:]), r"\[3, 7\]"),
    "a weight that is text": (state("model.scores.weight", "W"), "model.scores.weight"),
    "a weight of whole numbers": (state("model.scores.weight", W.long()), "model.scores.weight"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_in_a_sentence(name):
    change, part = WRONG[name]
    _, wrong = checkpoint()
    wrong = copy.deepcopy(wrong)
    change(wrong)
    with pytest.raises(ValueError, match=part) as caught:
        rebuild(wrong)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
