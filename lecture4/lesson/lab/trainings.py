"""Trainings as ``train.py`` does them, in memory and for several seeds."""

import copy
import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lecture4.data.dataset import Dataset
from lecture4.data.preprocess import Preprocess
from lecture4.lesson.lab.cache import Cache
from lecture4.lesson.lab.comparison import Comparison, Variant, best_setting, lies_at_edge
from lecture4.support.conf import CONF
from lecture4.training import assemble
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule
from lecture4.training.trainer import bare_trainer

T = TypeVar("T")


@dataclass
class Run:
    """A finished training.

    Attributes:
        command: that reproduces it.
        seed: of the run.
        history: metrics of each epoch: ``train/loss``, ``train/accuracy``, ``val/loss``, ….
        accuracy: on the test set, at the epoch of best validation accuracy; 1/K if it diverged.
        seconds: of wall time.
        parameters: of the model.
        diverged: training stopped because the objective became NaN or infinite.
        weights: state dict of the classifier at the best epoch; empty if it diverged.
    """

    command: str
    seed: int
    history: list[dict[str, float]]
    accuracy: float
    seconds: float
    parameters: int
    diverged: bool
    weights: dict[str, torch.Tensor] = field(repr=False)

    @property
    def best_validation(self) -> float:
        """Validation accuracy of the best epoch; 1/K if it diverged."""
        return self.accuracy if self.diverged else max(self.curve("val/accuracy"))

    def curve(self, metric: str) -> list[float]:
        """A metric's value in each epoch, up to where it diverged."""
        return [row[metric] for row in self.history]


class Lab:
    """Builds and trains models with the configuration that ``train.py`` composes.

    Args:
        budget: ``quick`` or ``full``, see ``pick``.
        seed: the first of the seeds.
        data: ``cifar10`` or ``shapes``.
        root: folder of CIFAR-10.
        cache: folder of finished trainings, or None.
        note: called with a few words about each step of the work.
    """

    def __init__(
        self,
        budget: str = "quick",
        seed: int = 0,
        data: str = "shapes",
        root: str = "data",
        cache: str | Path | None = None,
        note: Callable[[str], None] = lambda text: None,
    ):
        self.budget, self.seed, self.data, self.root = budget, seed, data, root
        self.cache = Cache(cache) if cache else None
        self.note = note
        self.commands: list[str] = []  # of the trainings of the current claim
        self._configurations: dict[tuple, DictConfig] = {}
        self._datasets: dict[str, Dataset] = {}
        self._fitted: dict[str, Preprocess] = {}

    def pick(self, quick: T, full: T) -> T:
        """The value for this budget."""
        return quick if self.budget == "quick" else full

    def seeds(self, n: int = 3) -> list[int]:
        """``n`` seeds, consecutive from the first."""
        return list(range(self.seed, self.seed + n))

    @cached_property
    def dataset(self) -> Dataset:
        """The page's images: CIFAR-10 or shapes."""
        return self._dataset(self.compose())

    def compose(self, *overrides: str, seed: int | None = None) -> DictConfig:
        """The configuration of ``python train.py *overrides seed=…``, on the page's data."""
        key = overrides, self.seed if seed is None else seed
        if key not in self._configurations:
            self._configurations[key] = self._compose(*key)
        return copy.deepcopy(self._configurations[key])

    def _compose(self, overrides: tuple[str, ...], seed: int) -> DictConfig:
        words = [*self._data(overrides), *overrides, f"seed={seed}", "~logger"]
        if "data=cifar10" in words:
            words.append(f"data.root={self.root}")
        if GlobalHydra.instance().is_initialized():
            return hydra.compose("train", words)
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose("train", words)

    def assemble(self, *overrides: str, seed: int | None = None) -> tuple[Classifier, DataModule]:
        """The untrained classifier and the data of ``python train.py *overrides seed=…``."""
        return self._assemble(self.compose(*overrides, seed=seed))

    def train(self, *overrides: str, seed: int | None = None) -> Run:
        """Train as ``python train.py *overrides seed=…`` does, without writing files.

        The weights, of the best epoch, equal the command's bit for bit.
        """
        seed = self.seed if seed is None else seed
        words = [*self._data(overrides), *overrides, f"seed={seed}"]
        command = shlex.join(["python", "train.py", *words])
        self.commands.append(command)
        self.note(" ".join([*overrides, f"seed={seed}"]))
        cfg = self.compose(*overrides, seed=seed)
        key = self._key(cfg)
        if key and (kept := self.cache.load(key)):
            return Run(**kept)
        classifier, data = self._assemble(cfg)
        run = _train(classifier, data, OmegaConf.to_container(cfg.trainer), command, seed)
        if key:
            self.cache.store(key, vars(run))
        return run

    def compare(
        self,
        net: Sequence[str],
        variants: Mapping[str, Sequence[str]],
        rates: Sequence[float] | Mapping[str, Sequence[float]],
        seeds: Sequence[int],
    ) -> Comparison:
        """Train variants of a net: each rate on the first seed, the best of them on every seed.

        Args:
            net: overrides of every training.
            variants: name -> further overrides.
            rates: values of ``optim.lr`` to try, or optimizer -> values.
            seeds: of the trainings.
        """
        per_optimizer = rates if isinstance(rates, Mapping) else {"": rates}
        settings = [(optim, rate) for optim, several in per_optimizer.items() for rate in several]
        made = {
            name: self._variant([*net, *own], settings, seeds) for name, own in variants.items()
        }
        cfg = self.compose(*net)
        dataset, images = self._dataset(cfg), self.images_an_epoch(*net) * cfg.trainer.max_epochs
        chance, tested = 1 / len(dataset.class_names), len(dataset.test_labels)
        return Comparison(made, settings, list(seeds), chance, tested, images)

    def _variant(
        self, net: Sequence[str], settings: Sequence[tuple[str, float]], seeds: Sequence[int]
    ) -> Variant:
        words = [[f"optim={o}"] * bool(o) + [f"optim.lr={rate:.3g}"] for o, rate in settings]
        tried = [self.train(*net, *setting, seed=seeds[0]) for setting in words]
        validation = [run.best_validation for run in tried]
        best = best_setting(settings, validation)
        runs = [tried[best], *(self.train(*net, *words[best], seed=seed) for seed in seeds[1:])]
        epochs = self.compose(*net).trainer.max_epochs
        curves = [run.curve("val/accuracy") for run in runs]
        return Variant(
            validation,
            best,
            lies_at_edge(settings, best),
            [run.accuracy for run in runs],
            [c + [run.accuracy] * (epochs - len(c)) for c, run in zip(curves, runs, strict=True)],
            sum(run.diverged for run in runs),
            runs[0].parameters,
        )

    def length(self, images: int, *overrides: str) -> tuple[str, str]:
        """Overrides that train on about ``images`` images: equal epochs, and as few as possible."""
        val_size = self.compose(*overrides).data.val_size
        split = len(self.dataset.train_labels) - val_size
        epochs = -(-images // split)
        share = images / (epochs * split)
        return f"trainer.max_epochs={epochs}", f"data.train_share={share:.4f}"

    def images_an_epoch(self, *overrides: str) -> int:
        """How many training images an epoch shows, in whole batches."""
        _, data = self.assemble(*overrides)
        return data.steps_per_epoch * data.batch_size

    def restore(self, run: Run, *overrides: str) -> tuple[Classifier, DataModule]:
        """The trained classifier of ``train(*overrides)``, in evaluation mode, and its data.

        If the run diverged, it is untrained.
        """
        classifier, data = self.assemble(*overrides, seed=run.seed)
        if not run.diverged:
            classifier.load_state_dict(run.weights)
        return classifier.eval(), data

    def _key(self, cfg: DictConfig) -> str | None:
        if self.cache is None:
            return None
        settings = OmegaConf.to_container(cfg, resolve=True)
        settings["data"].pop("root", None)  # the same images in any folder
        settings["data"]["source"].pop("root", None)
        source = Path(hydra.utils.get_object(cfg.data.source._target_).__code__.co_filename)
        parts = settings, source.read_text(), torch.get_num_threads(), torch.cuda.is_available()
        return self.cache.key("run", *parts)

    def _assemble(self, cfg: DictConfig) -> tuple[Classifier, DataModule]:
        dataset = self._dataset(cfg)
        key = json.dumps([str(part) for part in (cfg.preprocess, cfg.data, cfg.seed)])
        pl.seed_everything(cfg.seed, verbose=False)
        classifier, data = assemble.assemble(cfg, dataset, copy.deepcopy(self._fitted.get(key)))
        self._fitted.setdefault(key, copy.deepcopy(classifier.preprocess))
        return classifier, data

    def _data(self, overrides: tuple[str, ...]) -> list[str]:
        return [] if any(w.startswith("data=") for w in overrides) else [f"data={self.data}"]

    def _dataset(self, cfg: DictConfig) -> Dataset:
        source = OmegaConf.to_container(cfg.data.source, resolve=True)
        key = json.dumps(source)
        if key not in self._datasets:
            self._datasets[key] = assemble.build("data", cfg.data.source)
        return self._datasets[key]


def scores_of(classify: nn.Module, inputs: torch.Tensor, at_once: int = 500) -> torch.Tensor:
    """Scores (N, K) of inputs (N, ...), computed in parts and without gradients."""
    with torch.no_grad():
        return torch.cat([classify(part) for part in inputs.split(at_once)])


def accuracy(classify: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of inputs (N, ...) whose highest score is their label's."""
    return (scores_of(classify, inputs).argmax(1) == labels).double().mean().item()


def _train(
    classifier: Classifier, data: DataModule, options: dict[str, Any], command: str, seed: int
) -> Run:
    best = _Best()
    trainer = bare_trainer(options, [best], logger=False, enable_checkpointing=False)
    start, diverged = time.perf_counter(), False
    try:
        trainer.fit(classifier, data)
        classifier.load_state_dict(best.weights)
        trainer.test(classifier, data, verbose=False)
    except FloatingPointError:
        diverged = True
    return Run(
        command,
        seed,
        best.history,
        1 / len(classifier.class_names) if diverged else classifier.metrics["test/accuracy"],
        time.perf_counter() - start,
        sum(p.numel() for p in classifier.model.parameters()),
        diverged,
        {} if diverged else best.weights,
    )


class _Best(pl.Callback):
    """Keeps the metrics of each epoch, and the weights of the best one."""

    def __init__(self):
        self.history: list[dict[str, float]] = []
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_epoch_end(self, trainer, pl_module):
        metrics = dict(pl_module.metrics)
        if all(metrics["val/accuracy"] > row["val/accuracy"] for row in self.history):
            self.weights = {k: v.cpu().clone() for k, v in pl_module.state_dict().items()}
        self.history.append(metrics)
