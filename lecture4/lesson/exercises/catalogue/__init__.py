"""The catalogue of mistakes, by subject; each is a function of its own, wrong in one way."""

from lecture4.lesson.exercises.catalogue.index import MISTAKES, planted
from lecture4.lesson.exercises.catalogue.mistake import Mistake

__all__ = ["MISTAKES", "Mistake", "planted"]
