"""Placeholder until the reader of checkpoints moves here."""


def card(classifier, datamodule, precision) -> dict:
    """Plain values that describe the classifier."""
    return {
        "model": {"name": type(classifier.model).__name__, **classifier.model.settings},
        "formulas": classifier.formulas.name,
        "preprocess": type(classifier.preprocess).__name__,
        "class_names": list(classifier.class_names),
        "metrics": dict(classifier.metrics),
        "precision": precision,
        "device": classifier.device.type,
        "eval_batch_size": datamodule.eval_batch_size,
        "source": dict(datamodule.dataset.source),
    }
