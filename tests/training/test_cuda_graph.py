import pytest
import torch

from lecture4.training.assemble import assemble
from lecture4.training.cuda_graph import GraphedClassifier
from lecture4.training.settings import check
from lecture4.training.trainer import bare_trainer
from tests.running import compose

SMALL = ["data=shapes", "data.train_size=200", "data.test_size=20", "data.val_size=40"]
TRAIN = [*SMALL, "data.batch_size=32", "trainer.max_epochs=3", "trainer.precision=32-true"]


def trained(*overrides: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    cfg = compose(*TRAIN, *overrides)
    module, data = assemble(cfg)
    trainer = bare_trainer(dict(cfg.trainer), [], logger=False, enable_checkpointing=False)
    trainer.fit(module, data)
    assert isinstance(module, GraphedClassifier) is cfg.trainer.cuda_graph
    return module.model.state_dict()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "overrides",
    [
        ["model=convnet", "model.dropout=0.2"],
        ["model=convnet", "average=ema", "trainer.gradient_clip_val=1"],
        ["model=convnet", "optim=muon", "augment.small_epochs=1", "augment.cutout=4"],
        ["model=mlp", "optim=adam", "augment.alternate=true", "trainer.precision=bf16-mixed"],
        ["model=convnet", "formulas=byhand"],
    ],
    ids=" ".join,
)
def test_a_graph_trains_to_the_same_weights(overrides):
    plain, graphed = trained(*overrides), trained(*overrides, "trainer.cuda_graph=true")
    for name, value in plain.items():
        assert torch.equal(value, graphed[name]), name


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_graph_without_a_gpu_is_refused():
    with pytest.raises(ValueError, match="trainer.cuda_graph=true needs a CUDA GPU"):
        check(compose(*SMALL, "trainer.cuda_graph=true"))


def test_a_graph_of_several_processes_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ValueError, match="needs trainer.devices=1"):
        check(compose(*SMALL, "trainer.cuda_graph=true", "trainer.devices=2"))


def test_a_random_search_has_no_graph():
    words = [*SMALL, "trainer.cuda_graph=true", "model=softmax", "optim=random_search"]
    with pytest.raises(ValueError, match="omit trainer.cuda_graph"):
        check(compose(*words))
