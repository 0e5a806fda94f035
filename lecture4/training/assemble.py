"""Build a classifier and its data from a configuration."""

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

# Keys that do not affect training, or repeat others.
NO_HYPERPARAMETERS = (
    *("logger", "resume", "sweep", "sweep_resume", "checkpoint", "recipe", "space"),
)


def assemble(
    cfg: DictConfig, dataset: Dataset | None = None, preprocess: Preprocess | None = None
) -> tuple[Classifier, DataModule]:
    """Build classifier and data; weights are drawn from torch's global generator.

    Args:
        cfg: a composed ``conf/train.yaml``.
        dataset: used in place of loading ``cfg.data.source``.
        preprocess: used in place of fitting ``cfg.preprocess``.

    Raises:
        ValueError: a name is unknown or settings do not fit; the message names their choices.
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
        preprocess.fit(dataset.train_inputs, data.train_index)
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
    """The choices by name and every setting, as plain values, without ``_target_``."""
    kept = [name for name in cfg if name not in NO_HYPERPARAMETERS]
    chosen = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    settings = {name: _plain(cfg[name]) for name in kept}
    return {"choices": {name: chosen[name] for name in kept if name in chosen}, **settings}


def _plain(settings: Any) -> Any:
    """Resolve to lists, dictionaries and plain values, without keys that start with ``_``."""
    if OmegaConf.is_list(settings):
        return [_plain(value) for value in settings]
    if OmegaConf.is_dict(settings):
        return {name: _plain(v) for name, v in settings.items() if not str(name).startswith("_")}
    return settings


def build(group: str, settings: DictConfig, *args: Any, **keywords: Any) -> Any:
    """Instantiate ``settings``; an error names the choices that do not fit.

    Raises:
        ValueError: the settings are not accepted by their ``_target_``.
    """
    try:
        return instantiate(settings, *args, _convert_="all", **keywords)
    except InstantiationException as error:
        cause = error.__cause__
        if not isinstance(cause, ValueError | TypeError):
            # not an error in the settings: a network, a file, a missing package
            raise cause or error from None
        choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
        place = f"{group}={choices[group]}" if group in choices else group
        if group in ("model", "preprocess", "augment") and "data" in choices:
            place += f" with data={choices['data']}"
        raise ValueError(f"{place}: {cause}") from cause
