from functools import partial

import pytest

from lecture4.support.places import located, named


def part(a, size, kind="max", *, layers=None):
    if size < 0:
        raise ValueError(f"size={size} must be ≥ 0")
    return a, size, kind, layers


def test_settings_go_before_defaults():
    assert named("pool", part, {"size": 2}, a=1, kind="avg") == (1, 2, "avg", None)
    assert named("pool", part, {"size": 2, "kind": "min"}, a=1, kind="avg") == (1, 2, "min", None)
    assert named("pool", partial(part, 1, layers="own"), {"size": 2}) == (1, 2, "max", "own")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (2, "pool=2 must be a mapping of settings"),
        ([("size", 2)], "must be a mapping"),
        ({"siz": 2}, "pool has no setting siz; it takes size, kind"),
        ({"size": 2, "a": 1}, "pool has no setting a; it takes size, kind"),
        ({"size": 2, "layers": 1}, "pool has no setting layers; it takes size, kind"),
        ({"kind": "avg"}, "pool needs the setting size"),
        ({"size": -1}, "pool: size=-1 must be ≥ 0"),
    ],
)
def test_an_error_names_the_place(settings, message):
    with pytest.raises(ValueError, match=f"^{message}" if "pool" in message else message):
        named("pool", partial(part, 1, layers="own"), settings)


def test_places_nest():
    message = r"^blocks\[1\]: pool: height: too large$"
    with (
        pytest.raises(ValueError, match=message),
        located("blocks[1]"),
        located("pool"),
        located("height"),
    ):
        raise ValueError("too large")


def test_other_errors_pass_as_they_are():
    with pytest.raises(TypeError, match="^no$"), located("pool"):
        raise TypeError("no")
