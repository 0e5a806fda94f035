"""A run that falls behind stops."""

import json

import pytest
from running import SMALL

from lecture4.training.callbacks import Pruned, Pruning
from lecture4.training.trainer import bare_trainer


@pytest.fixture
def fit():
    """Train softmax for three epochs with a report; return the epochs that were reported."""
    from running import compose

    from lecture4.training.assemble import assemble

    def run(answers: list[bool]) -> list[tuple[int, float]]:
        cfg = compose(*SMALL, "model=softmax", "trainer.max_epochs=3", "trainer.accelerator=cpu")
        reported = []

        def report(epoch: int, accuracy: float) -> bool:
            reported.append((epoch, accuracy))
            return answers[epoch]

        trainer = bare_trainer(dict(cfg.trainer), [Pruning(report)], logger=False,
                               enable_checkpointing=False)  # fmt: skip
        classifier, data = assemble(cfg)
        try:
            trainer.fit(classifier, data)
        finally:
            assert reported[-1][1] == classifier.metrics["val/accuracy"]
        return reported

    return run


def test_every_epoch_is_reported_and_the_last_answer_does_not_count(fit):
    assert [epoch for epoch, _ in fit([False, False, True])] == [0, 1, 2]


def test_it_stops_when_it_is_told_to(fit):
    with pytest.raises(Pruned, match=r"% after epoch 2/3 fell behind"):
        fit([False, True, False])


def test_logged_runs_that_were_pruned_do_not_count_as_failed(job, monkeypatch):
    from lecture4.commands import train
    from lecture4.training.callbacks import Records
    from lecture4.training.callbacks.records import loggers_with_outcome

    ends = []
    on_exception = Records.on_exception

    def record(self, trainer, *rest):
        loggers = loggers_with_outcome(trainer)
        on_exception(self, trainer, *rest)
        ends.extend(logger.outcome for logger in loggers)

    monkeypatch.setattr(Records, "on_exception", record)
    monkeypatch.setattr(train.sweep, "join_study", lambda cfg: lambda epoch, accuracy: True)
    accuracy, folder = job("model=softmax", "trainer.max_epochs=2")
    results = json.loads((folder / "results.json").read_text())
    assert accuracy is None
    assert results["status"] == "pruned"
    assert "after epoch 1/2 fell behind" in results["reason"]
    assert ends == ["killed"]
