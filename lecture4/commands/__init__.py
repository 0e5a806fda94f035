"""What a user types: a module for each root script."""
