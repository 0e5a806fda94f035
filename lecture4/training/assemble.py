"""From a configuration to what it describes: a classifier, and the data that it is trained on."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from lecture4.byhand.optim.search import Search
from lecture4.data.dataset import Dataset
from lecture4.data.preprocess import Preprocess
from lecture4.training import formulas
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule
from lecture4.training.search import SearchClassifier

# What changes nothing in the net, or repeats what another key says.
NO_HYPERPARAMETERS = ("logger", "resume", "sweep_resume", "checkpoint", "recipe")


def assemble(
    cfg: DictConfig, dataset: Dataset | None = None, preprocess: Preprocess | None = None
) -> tuple[Classifier, DataModule]:
    """Build what a composed ``conf/train.yaml`` describes; weights come from torch's generator.

    Args:
        cfg: the configuration.
        dataset: what ``cfg.data.source`` describes, if it is in memory already.
        preprocess: what ``cfg.preprocess`` describes, if it is fitted already.

    Raises:
        ValueError: a name is unknown or settings do not fit; names the choices they belong to.
    """
    found = formulas.find(cfg.formulas)
    optimizer = found.optimizer(**OmegaConf.to_container(cfg.optim, resolve=True))
    penalty = found.penalty(cfg.penalty.kind)
    if dataset is None:
        dataset = build("data", cfg.data.source)
    data = DataModule(
        dataset=dataset,
        val_size=cfg.data.val_size,
        batch_size=cfg.data.batch_size,
        eval_batch_size=cfg.data.eval_batch_size,
        num_workers=cfg.data.num_workers,
        train_share=cfg.data.train_share,
        device=cfg.data.device,
        every_n_steps=cfg.checkpoint.every_n_steps,
        seed=cfg.seed,
    )
    if preprocess is None:
        preprocess = build("preprocess", cfg.preprocess, dataset.input_shape)
        preprocess.fit(data.train_inputs())
    shape, classes = dataset.input_shape, len(dataset.class_names)
    searches = issubclass(optimizer.func, Search)
    classifier = (SearchClassifier if searches else Classifier)(
        model=build("model", cfg.model, shape, classes, layers=found.nn),
        preprocess=preprocess,
        augment=build("augment", cfg.augment, shape),
        class_names=dataset.class_names,
        optimizer=optimizer,
        schedule=build("schedule", cfg.schedule),
        formulas=found,
        penalty=penalty,
        penalty_strength=cfg.penalty.strength,
        label_smoothing=cfg.label_smoothing,
        gradient_clip_val=cfg.trainer.gradient_clip_val,
        seed=cfg.seed,
    )
    return classifier, data


def hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """What was chosen, as plain values: of each group the choice's name, and every setting.

    Left out is ``_target_``, which the name of the choice stands for.
    """
    kept = [name for name in cfg if name not in NO_HYPERPARAMETERS]
    chosen = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    settings = {name: _plain(cfg[name]) for name in kept}
    return {"choices": {name: chosen[name] for name in kept if name in chosen}, **settings}


def _plain(settings: Any) -> Any:
    """Resolved, as lists, dictionaries and plain values, without keys that start with ``_``."""
    if OmegaConf.is_list(settings):
        return [_plain(value) for value in settings]
    if OmegaConf.is_dict(settings):
        return {name: _plain(v) for name, v in settings.items() if not str(name).startswith("_")}
    return settings


def build(group: str, settings: DictConfig, *args: Any, **keywords: Any) -> Any:
    """Instantiate what ``settings`` describe; an error names the choices that do not fit."""
    try:
        return instantiate(settings, *args, _convert_="all", **keywords)
    except InstantiationException as error:
        cause = error.__cause__
        if not isinstance(cause, ValueError | TypeError) or not HydraConfig.initialized():
            raise  # not a setting's fault alone: a network, a file, a missing package
        choices = HydraConfig.get().runtime.choices
        place = f"{group}={choices.get(group)}"
        if group in ("model", "preprocess", "augment"):
            place += f" with data={choices.get('data')}"
        raise ValueError(f"{place}: {cause}") from cause
