"""The lecture's three classifiers: ``nn.Module``s from inputs (N, ...) to scores (N, K)."""

from lecture4.models.convnet import ConvNet
from lecture4.models.layer_table import LayerRow, layer_rows
from lecture4.models.mlp import MLP
from lecture4.models.softmax import SoftmaxClassifier

MODELS = {model.__name__: model for model in (SoftmaxClassifier, MLP, ConvNet)}

__all__ = ["MLP", "MODELS", "ConvNet", "LayerRow", "SoftmaxClassifier", "layer_rows"]
