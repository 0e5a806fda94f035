"""The page: what was measured, as one HTML file that needs no network."""

from lecture4.lesson.page.render import render

__all__ = ["render"]
