"""Accepted values of the settings of ``lecture.py``."""

from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from lecture4.lesson.claims import NAMES
from lecture4.training.settings import NAME, is_whole


def check_lecture(cfg: DictConfig) -> list[str]:
    """Check the settings of ``lecture.py``; return the names of the claims in ``claims``.

    Raises:
        ValueError: a setting is not accepted; the message says what would be.
    """
    for key, (accepts, wanted) in ACCEPTED_BY_LECTURE.items():
        value = OmegaConf.select(cfg, key)
        if not accepts(value):
            raise ValueError(f"{key}={value} is not accepted; it must be {wanted}")
    asked = list(NAMES) if cfg.claims == "all" else cfg.claims
    asked = [asked] if isinstance(asked, str) else asked
    if not isinstance(asked, list | ListConfig) or not asked or not set(asked) <= set(NAMES):
        raise ValueError(
            f"claims={cfg.claims} is not accepted; it must be all, or a list such as "
            f"[rings,init] of {', '.join(NAMES)}"
        )
    return [name for name in NAMES if name in asked]


ACCEPTED_BY_LECTURE = {
    "budget": (lambda v: v in ("quick", "full"), "quick or full"),
    "seed": (lambda v: is_whole(v) and 0 <= v <= 4e9, "a whole number from 0 to 4000000000"),
    "data.name": (lambda v: v in ("auto", "cifar10", "shapes"), "auto, cifar10 or shapes"),
    "data.root": NAME,
    "cache": (lambda v: v is None or NAME[0](v), "a folder, or null for none"),
    "copy_to": (
        lambda v: v is None or (NAME[0](v) and Path(v).parent.is_dir() and not Path(v).is_dir()),
        "a file in a folder that exists, or null for none",
    ),
}
