"""Tell functions that are begun from those whose body is still to be written."""

import ast


def is_begun(node: ast.stmt) -> bool:
    """Whether a function has a body, or a class a method that has one.

    A body that holds a docstring, ``pass``, ``…`` or ``raise NotImplementedError`` alone is none,
    nor is one that returns a name to which nothing but None was assigned. A class with a method
    ``step`` is begun if that is.
    """
    if isinstance(node, ast.ClassDef):
        methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
        steps = [method for method in methods if method.name == "step"]
        others = [part for part in node.body if not isinstance(part, ast.FunctionDef)]
        return any(map(is_begun, steps or methods)) or (not methods and _computes(others))
    return isinstance(node, ast.FunctionDef) and _computes(node.body)


def _computes(body: list[ast.stmt]) -> bool:
    return not all(map(_is_placeholder, body)) and not _returns_nothing_but_none(body)


def _is_placeholder(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(ast.Constant()) | ast.Return(None | ast.Constant(None)):
            return True
        case ast.Raise(ast.Name("NotImplementedError") | ast.Call(ast.Name("NotImplementedError"))):
            return True
    return False


def _returns_nothing_but_none(body: list[ast.stmt]) -> bool:
    """Whether what is returned first, such as ``out``, is a name that was only set to None."""
    nodes = [node for statement in body for node in ast.walk(statement)]
    returned = [node.value for node in nodes if isinstance(node, ast.Return) and node.value]
    first = [value.elts[0] if isinstance(value, ast.Tuple) else value for value in returned]
    names = {value.id for value in first if isinstance(value, ast.Name)}
    if not first or not all(isinstance(value, ast.Name) for value in first):
        return False
    bound = [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    as_none = [name for node in nodes for name in _bound_to_none(node)]
    return all(name in as_none and bound.count(name) == as_none.count(name) for name in names)


def _bound_to_none(node: ast.AST) -> list[str]:
    match node:
        case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)):
            pairs = list(zip(targets, values, strict=False))
        case ast.Assign(targets, value):
            pairs = [(target, value) for target in targets]
        case _:
            return []
    return [
        target.id
        for target, value in pairs
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and value.value is None
    ]
