"""From a configuration to what it describes: a classifier, and the data it is trained on."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from lecture4.data.dataset import Dataset
from lecture4.data.preprocess import Preprocess
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule


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
    data = DataModule(
        dataset, d.val_size, d.batch_size, d.eval_batch_size, d.num_workers, cfg.seed, d.train_share
    )
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


def hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """What was chosen, as plain values: of each group the choice's name, and every setting.

    Left out are what changes nothing in the net, and ``_target_``, which the name stands for.
    """
    kept = [name for name in cfg if name not in ("logger", "resume", "sweep_resume", "checkpoint")]
    chosen = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    settings = OmegaConf.to_container(OmegaConf.masked_copy(cfg, kept), resolve=True)
    return {"choices": {name: chosen[name] for name in kept if name in chosen}, **_own(settings)}


def _own(settings: Any) -> Any:
    if isinstance(settings, list):
        return [_own(value) for value in settings]
    if isinstance(settings, dict):
        return {name: _own(v) for name, v in settings.items() if not str(name).startswith("_")}
    return settings


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
