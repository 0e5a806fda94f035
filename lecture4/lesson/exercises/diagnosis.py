"""What is wrong with a formula: mistakes that give its answers, or where the answers differ."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import chain

import numpy as np

from lecture4.lesson.exercises.answers import answers, differences, expected
from lecture4.lesson.exercises.cases import CASES
from lecture4.lesson.exercises.catalogue import MISTAKES, Mistake
from lecture4.lesson.exercises.records import Answers

Found = frozenset[tuple[int, str]]  # pairs of a case's number and the key of an answer
NUMERICAL = "gradient agrees with finite differences"
SUMMED = ", summed over each window"
UNCHANGED, WEIGHTS = " unchanged", "weights after step "
FLAGS = {
    NUMERICAL: "the gradient, by finite differences",
    "examples have masks of their own": "the mask, which all examples share",
    "units have masks of their own": "the mask, which all units share",
    "gradient has the mask of the value": "the mask of the gradient, which is not the value's",
}
OPPOSITE = {"training": "evaluation", "evaluation": "training", "float32": "float64"}


def wrong_keys(name: str, i: int, given: Answers, wanted: Answers) -> list[str]:
    """The keys of the answers to case ``i`` that differ; all, if they cannot be compared."""
    try:
        return differences(name, CASES[name][i], given, wanted)
    except Exception:  # arrays of texts, say, in place of numbers
        return list(wanted)


def pairs(wrong: Mapping[int, Iterable[str]]) -> Found:
    """The keys that are wrong in each case, as pairs."""
    return frozenset((i, key) for i, keys in wrong.items() for key in keys)


def mistakes_in(
    name: str, given: Mapping[int, Answers], wrong: Found
) -> tuple[list[list[Mistake]], Found]:
    """The mistakes of the catalogue that explain wrong answers, and what they do not explain.

    Mistakes in one list answer alike.

    A mistake is found if the answers agree with its own wherever these are wrong, and it explains
    all that is wrong under some key. What it does not explain may be explained by others. Where no
    mistake agrees, the answers that overflow are set aside, as another mistake's. A flag alone is
    no evidence of one mistake among several.
    """
    found: list[list[Mistake]] = []
    rest = frozenset(pair for pair in wrong if pair[1] != NUMERICAL)
    overflown = _overflown(name, given, wrong)
    while rest:
        for agree, aside in ((_same, frozenset()), (_like, frozenset()), (_same, overflown)):
            open_ = rest - aside
            explaining = _explaining(name, given, wrong - open_, agree)
            parts = {whole & open_: same for whole, same in reversed(explaining.items())}
            whole_keys = (
                p
                for p in parts
                if any(under(open_, key) <= p and (key not in FLAGS or p == rest) for _, key in p)
            )
            part = max(whole_keys, key=len, default=frozenset())
            if len(part) > len(aside):
                break
        else:
            break
        found.append(parts[part])
        rest -= part
        if lost := {i for i, _ in part & overflown}:  # and what follows from an overflow
            rest = frozenset(pair for pair in rest - overflown if pair[0] not in lost)
    return found, rest


def _overflown(name: str, given: Mapping[int, Answers], wrong: Found) -> Found:
    """The pairs that are wrong because of NaN or ∞."""
    wanted = {i: expected(name, CASES[name][i]) for i in given}
    return frozenset((i, k) for i, k in wrong if _overflows(given[i].get(k), wanted[i].get(k)))


def _explaining(
    name: str, given: Mapping[int, Answers], apart: Found, agree: Callable[..., bool]
) -> dict[Found, list[Mistake]]:
    """The mistakes whose wrong answers are also those of ``given``, by what they get wrong.

    Pairs in ``apart``, which another mistake explains, are not compared.
    """
    explaining: dict[Found, list[Mistake]] = {}
    for mistake in MISTAKES:
        if mistake.of == name:
            answers = {i: _answers_of(mistake, i) for i in given}
            part = frozenset((i, key) for i, (_, keys) in answers.items() for key in keys)
            if all(answers[i][0] for i in given) and all(
                agree(name, i, key, given[i], answers[i][0]) for i, key in part - apart
            ):
                explaining.setdefault(part, []).append(mistake)
    return explaining


def _same(name: str, i: int, key: str, given: Answers, of_mistake: Answers) -> bool:
    """Whether two answers to case ``i`` are the same, by the tolerance of the case."""
    return key not in wrong_keys(name, i, given, {key: of_mistake[key]})


def _like(name: str, i: int, key: str, given: Answers, of_mistake: Answers) -> bool:
    """Whether two answers are the same, or overflow at the same places, as NaN or as ∞."""
    a = of_mistake.get(key)
    if a is not None and a.dtype.kind == "f":
        of_mistake = {key: np.where(np.isfinite(a), a, np.nan)}
    return _same(name, i, key, given, of_mistake)


def _overflows(a: np.ndarray | None, wanted: np.ndarray | None) -> bool:
    """Whether an array has NaN or ∞ where a number is wanted."""
    if a is None or wanted is None or a.shape != wanted.shape or a.dtype.kind != "f":
        return False
    return not np.isfinite(a[np.isfinite(wanted)]).all()


@cache
def _answers_of(mistake: Mistake, i: int) -> tuple[Answers, list[str]]:
    """A mistake's answers to case ``i`` and which are wrong; no answers if it raises."""
    case = CASES[mistake.of][i]
    try:
        of_mistake = answers(mistake.of, mistake.call, case)
    except Exception:
        return {}, []
    return of_mistake, wrong_keys(mistake.of, i, of_mistake, expected(mistake.of, case))


def under(found: Found, key: str) -> Found:
    """The pairs with a key."""
    return frozenset(pair for pair in found if pair[1] == key)


def description(name: str, given: Mapping[int, Answers], wrong: Found) -> str:
    """In which cases and under which keys answers are right and wrong, in a sentence."""
    order = {key: i for i, key in enumerate(dict.fromkeys(chain(*given.values())))}
    cases: dict[str, frozenset[int]] = {}
    for i, key in sorted(wrong, key=lambda pair: (order.get(pair[1], -1), pair)):
        cases[in_words(key)] = cases.get(in_words(key), frozenset()) | {i}
    if len(cases) > 1:
        cases.pop(in_words(NUMERICAL), None)  # a gradient that is wrong does not fit them, either
    for words in [words for words in cases if words.startswith("the gradient")]:
        if cases[words] <= cases.get("the value", frozenset()):
            del cases[words]  # it follows the value
    places: dict[frozenset[int], list[str]] = {}
    for words, numbers in cases.items():
        places.setdefault(numbers, []).append(words)
    keys = {in_words(key) for answers in given.values() for key in answers if key != NUMERICAL}
    right = {"the value", "the weights"} & keys - cases.keys()
    parts = []
    for numbers, bad in places.items():
        asked = (i for i in given if {*bad} & {*map(in_words, expected(name, CASES[name][i]))})
        place, what = where(name, numbers, asked), listing(bad)
        if len(places) == 1 and not place and right:
            text = f"right except {what}"
        else:
            text = f"{what}: {place or 'wrong in every case'}"
        first = next(key for i, key in sorted(wrong) if in_words(key) == bad[0])
        parts.append(text + clue(name, given, sorted(numbers), first))
    return "; ".join(parts)


def in_words(key: str) -> str:
    """A wrong answer's key as the subject of a sentence."""
    if key.startswith(WEIGHTS):
        return "the weights"
    key = key.removesuffix(SUMMED)
    if key.endswith(UNCHANGED):
        return f"its argument {key.removesuffix(UNCHANGED)}, which it changes"
    return FLAGS.get(key, f"the {key}")


def where(name: str, wrong: frozenset[int], given: Iterable[int]) -> str:
    """The cases that are wrong, by their tags; "" if all are."""
    cases = {i: CASES[name][i].tags for i in given}
    cases = {i: tags if "float32" in tags else tags | {"float64"} for i, tags in cases.items()}
    if wrong >= cases.keys():
        return ""
    right = frozenset(cases) - wrong
    tagged = {tag: frozenset(i for i in cases if tag in cases[i]) for tag in _ordered(name, cases)}
    for tag, numbers in tagged.items():
        if numbers == wrong:
            others = [t for t, n in tagged.items() if n == right and _family(t, tag)]
            return (
                f"right for {others[0]}, wrong for {tag}" if others else f"right except {_for(tag)}"
            )
    for tag, numbers in tagged.items():
        if numbers == right:
            return f"right only {_for(tag)}"
    for tag, numbers in tagged.items():
        for other, more in tagged.items():
            if numbers & more == wrong:
                return f"right except {_for(tag)} with {other}"
    bad, rest = [], wrong
    for tag, numbers in sorted(tagged.items(), key=lambda item: -len(item[1])):
        if numbers <= wrong and numbers & rest:
            bad, rest = [*bad, tag], rest - numbers
    if not rest and len(bad) <= 3:
        return f"right except {_for(listing(bad))}"
    first = CASES[name][min(wrong)].label
    return f"wrong in {len(wrong)} of {len(cases)} cases, such as {first!r}"


def _ordered(name: str, cases: Mapping[int, frozenset[str]]) -> list[str]:
    """The tags of the cases, those first that stand first in the labels."""
    places = {
        tag: (place, i)
        for i in reversed(list(cases))
        for place, tag in enumerate(CASES[name][i].label.split(", "))
    }
    tags = {tag for tags in cases.values() for tag in tags}
    return sorted(tags, key=lambda tag: (*places.get(tag, (9, 0)), tag))


def _family(a: str, b: str) -> bool:
    """Whether two tags are values of one setting, such as stride 1 and stride 2."""
    return OPPOSITE.get(a) == b or OPPOSITE.get(b) == a or _shape(a) == _shape(b)


def _shape(tag: str) -> str:
    return re.sub(r"[\d.]+", "#", tag)


def _for(tag: str) -> str:
    return f"in {tag}" if tag.startswith(("float", "training", "evaluation")) else f"for {tag}"


def listing(words: list[str]) -> str:
    """Words with commas, and "and" before the last."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def clue(name: str, given: Mapping[int, Answers], numbers: list[int], key: str) -> str:
    """What wrong answers have in common: their shape, NaN, or a factor."""
    found = []
    for i in numbers:
        wanted = expected(name, CASES[name][i]).get(key)
        found.append(_difference(given[i].get(key), wanted))
    if len(set(found)) == 1 or found[0].startswith((": shape", ": a number", ": NaN")):
        return found[0]
    shapes = [getattr(CASES[name][i].arguments.get("input"), "shape", (1,)) for i in numbers]
    counts = {
        "a batch of N": [s[0] for s in shapes],
        "N numbers in a channel": [math.prod(s) / s[1] if len(s) > 1 else s[0] for s in shapes],
    }
    for of, ns in counts.items():
        for words, factors in (("N", ns), ("1/N", [1 / n for n in ns])):
            if found == [f": {factor:.4g} times the right one" for factor in factors]:
                return f": {words} times the right one, for {of}"
    return ""


def _difference(given: np.ndarray | None, wanted: np.ndarray | None) -> str:
    if given is None or wanted is None:
        return ": it is missing" if given is None else ""
    if given.shape != wanted.shape:
        return f": {shape(given)} instead of {shape(wanted)}"
    if given.dtype.kind != "f" or wanted.dtype.kind != "f" or not wanted.size:
        return f": {given} instead of {wanted}" if wanted.dtype.kind == "U" else ""
    if _overflows(given, wanted):
        return ": NaN or ∞"
    factor = _factor(given.astype(float), wanted.astype(float))
    if factor is None:
        return ""
    return f": {factor:.4g} times the right one" if factor else ": zeros"


def _factor(given: np.ndarray, wanted: np.ndarray) -> float | None:
    """c if given = c · wanted."""
    at = np.unravel_index(np.abs(wanted).argmax(), wanted.shape)
    if not np.isfinite(wanted).all() or not wanted[at]:
        return None
    c = float(f"{given[at] / wanted[at]:.4g}")
    near = np.allclose(given, c * wanted, rtol=1e-3, atol=1e-3 * abs(wanted[at]))
    return c if near and abs(c - 1) > 1e-3 else None


def shape(array: np.ndarray) -> str:
    """Such as "shape 4×5", or "a number"."""
    return f"shape {'×'.join(map(str, array.shape))}" if array.shape else "a number"
