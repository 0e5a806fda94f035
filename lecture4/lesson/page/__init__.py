"""The page: the report as one HTML file that needs no network."""

from lecture4.lesson.page.render import render_page

__all__ = ["render_page"]
