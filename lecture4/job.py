"""From a configuration to what it describes: a classifier, and the data it is trained on."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from lecture4.classifier import Classifier
from lecture4.data.dataset import Dataset
from lecture4.data.module import DataModule
from lecture4.preprocess import Preprocess


def assemble(
    cfg: DictConfig, dataset: Dataset | None = None, preprocess: Preprocess | None = None
) -> tuple[Classifier, DataModule]:
    """Build what a composed ``conf/train.yaml`` describes; weights come from torch's generator.

    Args:
        cfg: the configuration.
        dataset: what ``cfg.data.source`` describes, if it is in memory already.
        preprocess: what ``cfg.preprocess`` describes, if it is fitted already.

    Raises:
        ValueError: settings do not fit; names the choices that they belong to.
    """
    d = cfg.data
    dataset = dataset or build("data", d.source)
    data = DataModule(dataset, d.val_size, d.batch_size, d.eval_batch_size, d.num_workers, cfg.seed)
    if preprocess is None:
        preprocess = build("preprocess", cfg.preprocess, dataset.input_shape)
        preprocess.fit(data.train_inputs())
    classifier = Classifier(
        build("model", cfg.model, dataset.input_shape, len(dataset.class_names)),
        preprocess,
        build("augment", cfg.augment, dataset.input_shape),
        dataset.class_names,
        build("optim", cfg.optim),
        build("schedule", cfg.schedule),
        cfg.penalty.kind,
        cfg.penalty.strength,
        cfg.label_smoothing,
        cfg.seed,
    )
    return classifier, data


def build(group: str, settings: DictConfig, *args: Any) -> Any:
    """Instantiate what ``settings`` describe; an error names the choices that do not fit."""
    try:
        return instantiate(settings, *args, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if not isinstance(cause, ValueError | TypeError) or not HydraConfig.initialized():
            raise  # not a setting's fault alone: a network, a file, a missing package
        choices = HydraConfig.get().runtime.choices
        place = f"{group}={choices.get(group)}"
        if group in ("model", "preprocess", "augment"):
            place += f" with data={choices.get('data')}"
        raise ValueError(f"{place}: {cause}") from cause
