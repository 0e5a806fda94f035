"""One run: settings -> objects, the training step, trainer, callbacks, checkpoint."""
