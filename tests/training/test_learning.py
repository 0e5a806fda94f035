"""Every pair of model and optimizer learns with the defaults it comes with."""

import pytest

REACH = {"softmax": 0.22, "mlp": 0.45, "convnet": 0.80}  # chance is 0.10
EPOCHS = {"softmax": 10, "mlp": 12, "convnet": 4}


@pytest.mark.slow
@pytest.mark.parametrize("optim", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("model", list(REACH))
def test_every_pair_learns_out_of_the_box(job, model, optim):
    accuracy, _ = job(
        f"model={model}",
        f"optim={optim}",
        "data.train_size=4500",
        "data.val_size=500",
        f"trainer.max_epochs={EPOCHS[model]}",
    )
    assert accuracy >= REACH[model]
