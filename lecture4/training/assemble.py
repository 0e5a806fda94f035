"""Build a classifier and its data from a configuration."""

import math
import re
from functools import partial
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lecture4.byhand.optim.search import Search
from lecture4.data.dataset import Dataset
from lecture4.data.preprocess import Preprocess
from lecture4.data.views import check_views
from lecture4.models import MLP, ConvNet
from lecture4.models.layer_table import layer_rows
from lecture4.training import formulas
from lecture4.training.classifier import Classifier
from lecture4.training.cuda_graph import GraphedClassifier
from lecture4.training.datamodule import DataModule
from lecture4.training.parameter_groups import parameter_groups
from lecture4.training.search import SearchClassifier

WHITENED = 5_000  # training inputs from which a layer that whitens is computed
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
    settings = OmegaConf.to_container(cfg.optim, resolve=True)
    groups = partial(
        parameter_groups,
        head_lr=settings.pop("head_lr", None),
        bias_lr=settings["lr"] * settings.pop("bias_lr_scale", 1.0),
        bias_weight_decay=settings.pop("bias_weight_decay", 0.0),
    )
    optimizer = found.optimizer(**settings)
    found.check_smoothing(cfg.label_smoothing)
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
    shape = dataset.input_shape
    model = _model(cfg, found, data, preprocess)
    check_views(cfg.test_time, shape)
    augment = build("augment", cfg.augment, shape, fill=255 * preprocess.mean)
    _check_small(augment.shape_at(0), preprocess, model)
    classifier = _kind(cfg, optimizer.func)(
        model=model,
        preprocess=preprocess,
        augment=augment,
        class_names=dataset.class_names,
        optimizer=optimizer,
        groups=groups,
        schedule=build("schedule", cfg.schedule),
        formulas=found,
        penalty=penalty,
        penalty_strength=cfg.penalty.strength,
        label_smoothing=cfg.label_smoothing,
        gradient_clip_val=cfg.trainer.gradient_clip_val,
        average=build("average", cfg.average, model),
        test_time=cfg.test_time,
        seed=cfg.seed,
    )
    return classifier, data


def _model(
    cfg: DictConfig, found: formulas.Formulas, data: DataModule, preprocess: Preprocess
) -> nn.Module:
    """Build the model; layers that whiten are computed from training inputs."""
    dataset = data.dataset
    model = build(
        "model", cfg.model, dataset.input_shape, len(dataset.class_names), layers=found.nn
    )
    if isinstance(model, ConvNet | MLP):
        numbers = math.prod(dataset.input_shape)
        some = data.sample(WHITENED, cfg.seed).split(max(1, 2**16 // numbers))
        model.fit(preprocess(dataset.train_inputs[index]) for index in some)
    return model


def _kind(cfg: DictConfig, optimizer: type[torch.optim.Optimizer]) -> type[Classifier]:
    if issubclass(optimizer, Search):
        return SearchClassifier
    return GraphedClassifier if cfg.trainer.cuda_graph else Classifier


def _check_small(shape: tuple[int, ...], preprocess: Preprocess, model: nn.Module) -> None:
    """Refuse images of the first epochs that preprocessing or model cannot take."""
    try:
        preprocess(torch.zeros(1, *shape))
        layer_rows(model, shape)
    except RuntimeError as error:
        raise ValueError(
            f"augment.small_side={shape[-1]}: the first epochs have images of shape {shape}, and "
            f"preprocess or model takes only those of the dataset; use model=convnet with "
            f"model.head=global or max, and a preprocess of channels"
        ) from error


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
        unknown = r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'"
        reason = re.sub(unknown, r"\1 has no setting \2", str(cause))
        raise ValueError(f"{place}: {reason}") from cause
