"""A lecture on deep-learning fundamentals that runs; README.md maps its sections to files."""
