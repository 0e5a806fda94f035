"""Which room may import which, read from the imports of the code; each rule is shown to fail."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from running import ROOT

# support, byhand <- data <- models <- training <- runs, lesson <- commands <- root scripts
ROOMS = {
    "support": set(),
    "byhand": set(),
    "data": {"support", "byhand"},
    "models": {"support", "byhand", "data"},
    "training": {"support", "byhand", "data", "models"},
    "runs": {"support", "byhand", "data", "models", "training"},
    "lesson": {"support", "byhand", "data", "models", "training"},
    "commands": {"support", "byhand", "data", "models", "training", "runs", "lesson"},
}
PLAIN_PYTORCH = ("byhand", "data", "models")
LIGHTNING = {"pytorch_lightning", "lightning", "lightning_fabric"}
HYDRA = {"hydra", "omegaconf"}

SPEAKS_HYDRA = (
    "lecture4/commands/",
    "lecture4/training/assemble.py",  # instantiate
    "lecture4/lesson/lab/",  # composes what the command line would
    "lecture4/runs/sweep/hydra.py",  # the callback that Hydra calls
    "hydra_plugins/",  # where Hydra looks for sweepers
)
ALSO_SPEAKS_HYDRA = {
    "lecture4/runs/recorded.py": "composes the recorded overrides against conf/",
    "lecture4/runs/resume.py": "asks HydraConfig for the overrides typed beside resume=",
    "lecture4/runs/sweep/jobs.py": "parses the recorded overrides of jobs",
    "lecture4/support/private.py": "names Hydra's private parser of arguments",
    "lecture4/training/processes.py": "asks HydraConfig whether this job belongs to a sweep",
}
TESTS_WITHOUT_MODULE = {
    "tests/byhand/functional/test_drop_in.py": "all functions against torch.nn.functional",
    "tests/byhand/optim/test_torch_twins.py": "all optimizers against torch.optim",
    "tests/byhand/optim/test_trajectories.py": "all optimizers along the paths of torch.optim",
    "tests/byhand/test_dtypes.py": "every function and dtype against torch",
    "tests/byhand/test_extremes.py": "NaN, infinity, empty tensors, torch.compile",
    "tests/byhand/test_meta_device.py": "no formula reads a number from the device",
    "tests/lesson/page/test_browser.py": "the page in Chromium",
    "tests/lesson/page/test_inside.py": "lecture4/lesson/page/inside/*.js",
    "tests/lesson/page/test_playground.py": "lecture4/lesson/page/playground/*.js",
    "tests/lesson/page/test_widgets.py": "lecture4/lesson/page/widgets/*.js",
    "tests/models/test_gradients_on_paper.py": "gradients of whole nets",
    "tests/runs/sweep/test_grid.py": "hydra_plugins/lecture4_grid.py",
    "tests/runs/sweep/test_optuna.py": "hydra_plugins/lecture4_optuna.py",
    "tests/runs/test_without_validation.py": "data.val_size=0 from the command line on",
    "tests/training/test_learning.py": "each model learns",
}
Sources = dict[str, str]  # text of each file, by its path below the root


def sources_of(*folders: str) -> Sources:
    """The Python files below the folders, or in the root itself for ``"."``."""
    paths = [
        path
        for folder in folders
        for path in (ROOT.glob("*.py") if folder == "." else (ROOT / folder).rglob("*.py"))
    ]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(paths)}


@pytest.fixture(scope="module")
def sources() -> Sources:
    return sources_of("lecture4", "hydra_plugins", ".")


def module_of(path: str) -> str:
    """lecture4/data/__init__.py -> lecture4.data"""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room_of(module: str) -> str | None:
    """lecture4.data.rings -> data"""
    parts = module.split(".")
    return parts[1] if parts[0] == "lecture4" and len(parts) > 1 else None


def imports_of(path: str, sources: Sources) -> Iterator[str]:
    """The modules that a file imports anywhere, also within functions."""
    modules = {module_of(p) for p in sources}
    package = (
        module_of(path) if path.endswith("__init__.py") else module_of(path).rpartition(".")[0]
    )
    for node in ast.walk(ast.parse(sources[path])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            origin = ".".join([*above, *filter(None, [node.module])]) if node.level else node.module
            for alias in node.names:
                submodule = f"{origin}.{alias.name}"
                yield submodule if submodule in modules else origin
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant))


# The rules: each returns the sentences that say where it is broken.


def upward_imports(sources: Sources) -> list[str]:
    """A room imports from rooms below it alone, a root script from commands alone."""
    found = []
    for path in sources:
        if path == "lecture4/__init__.py":
            allowed = set()
        elif "/" not in path:
            allowed = {"commands"}
        elif path.startswith("hydra_plugins/"):
            allowed = ROOMS["runs"] | {"runs"}
        else:
            room = room_of(module_of(path))
            allowed = ROOMS[room] | {room}
        for module in imports_of(path, sources):
            if module.split(".")[0] == "lecture4" and room_of(module) not in allowed:
                found.append(f"{path} imports {module}")
    return found


def cycles(sources: Sources) -> list[str]:
    """No file imports itself by way of others."""
    modules = {module_of(path): path for path in sources}
    graph = {
        module: {m for m in imports_of(path, sources) if m in modules}
        for module, path in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" <- ".join(error.args[1])]
    return []


def more_than_torch_in_byhand(sources: Sources) -> list[str]:
    """byhand imports torch and the standard library alone."""
    allowed = {"torch", "lecture4", *sys.stdlib_module_names}
    return [
        f"{path} imports {module}"
        for path in sources
        if path.startswith("lecture4/byhand/")
        for module in imports_of(path, sources)
        if module.split(".")[0] not in allowed
    ]


def frameworks_in_plain_rooms(sources: Sources) -> list[str]:
    """byhand, data and models import neither Lightning nor Hydra."""
    return [
        f"{path} imports {module}"
        for path in sources
        if room_of(module_of(path)) in PLAIN_PYTORCH
        for module in imports_of(path, sources)
        if module.split(".")[0] in LIGHTNING | HYDRA
    ]


def hydra_elsewhere(sources: Sources) -> list[str]:
    """Files that import Hydra and are not where Hydra is spoken."""
    return [
        path
        for path in sources
        if not path.startswith(SPEAKS_HYDRA)
        and any(module.split(".")[0] == "hydra" for module in imports_of(path, sources))
    ]


def modules_named_as_exports(sources: Sources) -> list[str]:
    """No package re-exports a function or class under the name of one of its modules."""
    modules = {module_of(path) for path in sources}
    found = []
    for path, text in sources.items():
        if not path.endswith("/__init__.py"):
            continue
        for node in ast.walk(ast.parse(text)):
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                name = f"{module_of(path)}.{alias.asname or alias.name}"
                if name in modules and f"{node.module}.{alias.name}" not in modules:
                    found.append(f"{name} is a module, and {alias.name} of {node.module}")
    return found


def unmirrored(tests: Sources, sources: Sources) -> list[str]:
    """tests/ROOM/…/test_x.py tests lecture4/ROOM/…/x.py, _x.py or the package x."""
    found = []
    for path in tests:
        folder, _, name = path.removeprefix("tests/").rpartition("/")
        if folder.split("/")[0] in ROOMS and name.startswith("test_"):
            name = name.removeprefix("test_")
            near = f"lecture4/{folder}/"
            modules = [near + name, f"{near}_{name}", near + name.replace(".py", "/__init__.py")]
            if not any(module in sources for module in modules):
                found.append(path)
    return found


# The rules hold.


def test_there_are_eight_rooms_and_nothing_beside_them():
    entries = {p.name for p in (ROOT / "lecture4").iterdir() if p.name != "__pycache__"}
    assert entries == {"__init__.py", "py.typed", *ROOMS}


@pytest.mark.parametrize(
    "rule", [upward_imports, cycles, more_than_torch_in_byhand, frameworks_in_plain_rooms]
)
def test_the_rule_holds(rule, sources):
    assert rule(sources) == []


def test_hydra_is_spoken_in_few_files(sources):
    assert hydra_elsewhere(sources) == sorted(ALSO_SPEAKS_HYDRA)


def test_no_module_has_the_name_of_a_function_or_class_beside_it(sources):
    assert modules_named_as_exports(sources) == []


def test_root_scripts_are_one_call():
    for path, text in sources_of(".").items():
        assert len(text.splitlines()) <= 12, path


def test_tests_mirror_the_package(sources):
    assert unmirrored(sources_of("tests"), sources) == sorted(TESTS_WITHOUT_MODULE)


# And each of them can fail.


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (upward_imports, "lecture4/data/rings.py", "from lecture4.models import MLP"),
        (upward_imports, "lecture4/data/rings.py", "from lecture4 import training"),
        (upward_imports, "lecture4/data/rings.py", "from ..training import trainer"),
        (upward_imports, "lecture4/data/rings.py", "def f():\n    import lecture4.training"),
        (upward_imports, "lecture4/data/rings.py", "import_module('lecture4.training.trainer')"),
        (upward_imports, "lecture4/byhand/nn.py", "from lecture4.support import console"),
        (upward_imports, "lecture4/runs/resume.py", "from lecture4.lesson import report"),
        (upward_imports, "lecture4/lesson/report.py", "from lecture4.runs import resume"),
        (upward_imports, "lecture4/__init__.py", "from lecture4.data import rings"),
        (upward_imports, "hydra_plugins/grid.py", "from lecture4.commands import train"),
        (upward_imports, "train.py", "from lecture4.training import trainer"),
        (cycles, "lecture4/data/randomness.py", "def f():\n    from lecture4.data import rings"),
        (cycles, "lecture4/data/rings.py", "from lecture4.data import Dataset"),
        (more_than_torch_in_byhand, "lecture4/byhand/nn.py", "import numpy as np"),
        (more_than_torch_in_byhand, "lecture4/byhand/nn.py", "from torchvision import ops"),
        (frameworks_in_plain_rooms, "lecture4/models/mlp.py", "import pytorch_lightning as pl"),
        (frameworks_in_plain_rooms, "lecture4/data/rings.py", "from omegaconf import DictConfig"),
        (hydra_elsewhere, "lecture4/training/trainer.py", "from hydra.utils import instantiate"),
        (modules_named_as_exports, "lecture4/models/__init__.py", "from x.y import mlp"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)  # fmt: skip
def test_a_planted_import_breaks_the_rule(rule, path, text):
    good = {
        "train.py": "from lecture4.commands.train import main",
        "hydra_plugins/grid.py": "from lecture4.runs import resume",
        "lecture4/__init__.py": "",
        "lecture4/byhand/nn.py": "import math\nimport torch",
        "lecture4/support/console.py": "import rich",
        "lecture4/data/__init__.py": "from lecture4.data import rings\nDataset = rings.rings",
        "lecture4/data/randomness.py": "import numpy",
        "lecture4/data/rings.py": "from lecture4.data import randomness",
        "lecture4/models/__init__.py": "from lecture4.models.mlp import MLP",
        "lecture4/models/mlp.py": "from lecture4.byhand import nn",
        "lecture4/training/__init__.py": "",
        "lecture4/training/trainer.py": "import pytorch_lightning as pl",
        "lecture4/runs/resume.py": "from ..training import trainer",
        "lecture4/lesson/report.py": "from lecture4.data.rings import rings",
        "lecture4/commands/train.py": "import hydra\nfrom lecture4.lesson import report",
    }
    assert rule(good) == []
    (broken,) = rule(good | {path: f"{good[path]}\n{text}"})
    assert Path(path).stem in broken or module_of(path) in broken


def test_a_test_without_module_is_found():
    package = {
        "lecture4/data/rings.py": "",
        "lecture4/data/_private.py": "",
        "lecture4/data/x/__init__.py": "",
    }
    mirrored = ["rings", "private", "x"]
    tests = {f"tests/data/test_{name}.py": "" for name in mirrored}
    tests |= {"tests/test_conf.py": "", "tests/data/conftest.py": ""}
    assert unmirrored(tests, package) == []
    assert unmirrored(tests | {"tests/data/test_y.py": ""}, package) == ["tests/data/test_y.py"]
