"""Solved files, one for each style that an exercise may be written in; teachers' copies."""
