"""Draw accuracy against the cost of training: finished runs, beside published results.

``python benchmarks/frontier.py RUN …`` takes the directories of runs; those whose overrides differ
in the seed alone become one point, their mean.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import yaml

from lecture4.runs.sweep.figures import frontier
from lecture4.training.figures import save

APART = ("seed=", "data.root=", "hydra.", "test_time=")  # what does not name a point
# FLOPs of training as train_flops counts them, and test accuracy over views (n = 50 and 200).
# Source: github.com/KellerJordan/cifar10-airbench, airbench93.py and airbench94_muon.py
PUBLISHED = {"airbench93": (0.18e15, 0.9300), "airbench94_muon": (0.29e15, 0.9401)}


def name_of(run: Path) -> str:
    """The choices typed for a run: ``model=convnet``."""
    typed = yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text())
    return " ".join(word for word in typed if not word.startswith(APART))


def main() -> None:
    """Read the runs, print the means, and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "figures/frontier.png")
    options = parser.parse_args()
    results = defaultdict(list)
    for run in options.runs:
        results[name_of(run)].append(json.loads((run / "results.json").read_text()))
    figure = frontier(results)
    _, flops = figure.axes
    costs, accuracies = zip(*PUBLISHED.values(), strict=True)
    flops.scatter(costs, accuracies, marker="x", s=36, color="black", label="published")
    for name, point in PUBLISHED.items():
        flops.annotate(name, point, xytext=(7, -3), textcoords="offset points", fontsize=8)
    flops.set_xlim(right=1.4 * max(costs))  # room for the names
    flops.legend(loc="lower right")
    save(lambda: figure, options.to)
    for name, jobs in results.items():
        for key in ("test_accuracy", "test_time_accuracy", "train_seconds", "train_flops"):
            values = [job[key] for job in jobs if job[key] is not None]
            if not values:  # runs without test_time
                continue
            spread = f"{fmean(values):.6g} ({min(values):.6g}–{max(values):.6g})"
            print(f"{name} {key}: {spread}, n = {len(values)}")


if __name__ == "__main__":
    main()
