"""Optimizers of a file whose whole state is in ``state_dict``: tensors and plain values alone.

Code that was not written for torch keeps arrays in its state, or a count of steps as an attribute.
"""

from typing import Any

import numpy as np
import torch

PLAIN = (bool, int, float, str, type(None), torch.Tensor)
ARRAY, PARAMETER, ITEMS = "of an array", "of a parameter", "of a dictionary"
ID = "id of a parameter"  # a key of self.v[id(w)], which is another one after a resume


class Saved(torch.optim.Optimizer):
    """An optimizer that also saves its attributes, or those of the objects that it delegates to."""

    of_a_file = True

    def holders(self) -> list[Any]:
        """The objects whose attributes are saved."""
        return [self]

    def state_dict(self) -> dict[str, Any]:
        """torch's, without arrays, and with attributes.

        Raises:
            ValueError: something is neither array, tensor nor plain value.
        """
        saved = super().state_dict()
        saved["state"] = self._encoded(saved["state"], "state")
        saved["attributes"] = [
            {k: self._encoded(v, k) for k, v in vars(holder).items() if k not in NOT_SAVED}
            for holder in self.holders()
        ]
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state and the attributes.

        Raises:
            ValueError: they were saved by another optimizer.
        """
        if "attributes" not in state_dict:
            raise ValueError(
                f"the state to resume from is not one of the file's {type(self).__name__}; resume "
                f"with the file as it was, or begin a new run"
            )
        super().load_state_dict(state_dict)
        for state in self.state.values():
            state.update(self._decoded(dict(state)))
        for holder, attributes in zip(self.holders(), state_dict["attributes"], strict=True):
            for name, value in self._decoded(attributes).items():
                before = getattr(holder, name, None)
                if isinstance(before, dict):  # also of a subclass, such as defaultdict
                    before.clear()
                    before.update(value)
                else:
                    setattr(holder, name, value)

    def _encoded(self, value: Any, place: str) -> Any:
        parameters = self._parameters()
        for i, p in enumerate(parameters):
            if value is p:
                return {PARAMETER: i}
            if type(value) is int and value == id(p):
                return {ID: i}
        if isinstance(value, np.generic):  # np.float64 is a float, too
            return value.item()
        if isinstance(value, PLAIN):
            return value
        if isinstance(value, np.ndarray) and value.dtype != object:
            return {ARRAY: torch.from_numpy(value.copy())}
        if isinstance(value, dict):
            pairs = [[self._encoded(k, place), self._encoded(v, place)] for k, v in value.items()]
            plain = all(isinstance(key, str | int) for key, _ in pairs)
            return dict(pairs) if plain else {ITEMS: pairs}
        if isinstance(value, list | tuple):
            return type(value)(self._encoded(part, place) for part in value)
        raise ValueError(
            f"{type(self).__name__} keeps a {type(value).__name__} in {place}, which a checkpoint "
            f"does not hold; keep tensors, arrays, numbers, lists and dictionaries"
        )

    def _decoded(self, value: Any) -> Any:
        if isinstance(value, dict):
            match value:
                case {"of a parameter": i}:
                    return self._parameters()[i]
                case {"id of a parameter": i}:
                    return id(self._parameters()[i])
                case {"of an array": array}:
                    return array.cpu().numpy()
                case {"of a dictionary": pairs}:
                    return {self._decoded(k): self._decoded(v) for k, v in pairs}
            return {key: self._decoded(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._decoded(part) for part in value)
        return value

    def _parameters(self) -> list[torch.Tensor]:
        return [p for group in self.param_groups for p in group["params"]]


def _attributes_of_torch() -> frozenset[str]:
    optimizer = torch.optim.SGD([torch.zeros(1)])
    torch.optim.lr_scheduler.LambdaLR(optimizer, float)  # wraps its step
    optimizer.step()
    return frozenset(vars(optimizer))


# what torch keeps in an optimizer, and saves itself where it is to be saved
NOT_SAVED = _attributes_of_torch()
