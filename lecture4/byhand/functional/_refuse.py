"""What a twin in torch can do and an operation here cannot is refused, never ignored."""


def refuse(operation: str, **arguments: object) -> None:
    """Refuse every argument that was given, that is not None.

    Raises:
        ValueError: names the argument and its value.
    """
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(
                f"{operation} by hand does not support {name}={value!r}; leave {name} out"
            )
