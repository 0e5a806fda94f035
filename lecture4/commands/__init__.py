"""The command line: a module for each root script."""
