import json
import math

import pytest
import torch

from lecture4.models import SoftmaxClassifier


def test_parameters_are_those_counted_by_hand():
    model = SoftmaxClassifier((3, 32, 32), 10)
    assert sum(p.numel() for p in model.parameters()) == 3 * 32 * 32 * 10 + 10 == 30_730
    assert model(torch.rand(7, 3, 32, 32)).shape == (7, 10)


def test_scores_are_w_x_plus_b():
    """W = [[1, 2], [3, 4], [5, 6]], b = (1, 0, -1), x = (10, 1): s = (13, 34, 55)."""
    model = SoftmaxClassifier((2,), 3)
    with torch.no_grad():
        model.scores.weight.copy_(torch.tensor([[1.0, 2], [3, 4], [5, 6]]))
        model.scores.bias.copy_(torch.tensor([1.0, 0, -1]))
    assert model(torch.tensor([[10.0, 1]])).tolist() == [[13, 34, 55]]


def test_images_are_stretched_channel_by_channel_row_by_row():
    model = SoftmaxClassifier((2, 3, 4), 1)
    x = torch.randn(1, 2, 3, 4)
    w, b = model.scores.weight.view(2, 3, 4), model.scores.bias
    expected = sum(w[c, i, j] * x[0, c, i, j] for c in range(2) for i in range(3) for j in range(4))
    assert torch.allclose(model(x), expected + b)


def test_probabilities():
    """Scores (0, log 2, log 5) give probabilities (1, 2, 5)/8."""
    model = SoftmaxClassifier((1,), 3)
    with torch.no_grad():
        model.scores.weight.zero_()
        model.scores.bias.copy_(torch.tensor([0, math.log(2), math.log(5)]))
    p = model(torch.ones(1, 1)).softmax(1)
    assert p.tolist()[0] == pytest.approx([1 / 8, 2 / 8, 5 / 8])


def test_small_weights_by_default_give_loss_log_k():
    torch.manual_seed(0)
    model = SoftmaxClassifier((3, 32, 32), 10)
    scores = model(torch.randn(100, 3, 32, 32))
    loss = torch.nn.functional.cross_entropy(scores, torch.arange(100) % 10)
    assert loss.item() == pytest.approx(math.log(10), abs=0.02)


def test_settings_rebuild_an_equal_model():
    model = SoftmaxClassifier((3, 4, 4), 5, init="large")
    settings = json.loads(json.dumps(model.settings))
    assert settings == {
        "input_shape": [3, 4, 4],
        "num_classes": 5,
        "init": "large",
    }
    again = SoftmaxClassifier(**settings)
    again.load_state_dict(model.state_dict())
    x = torch.randn(6, 3, 4, 4)
    assert torch.equal(again(x), model(x))


def test_unknown_init():
    with pytest.raises(ValueError, match="init=kaiming is unknown"):
        SoftmaxClassifier((2,), 2, init="kaiming")
