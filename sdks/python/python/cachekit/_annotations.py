"""The classes that annotations name, and those that the fields of these name.

Text is not evaluated: what it names is looked up. So an annotation that only a newer Python could evaluate counts, and
so does the rest of one of which a part is there for type checkers alone.
"""

from __future__ import annotations

import ast
import builtins
import sys

if sys.version_info >= (3, 14):
    import annotationlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Scope = Iterable[Mapping[str, Any]]

_MISSING = object()


class Search:
    """What was found."""

    def __init__(self) -> None:
        self.found: dict[type, None] = {}
        # Whether every name was found.
        self.complete = True
        self._met: dict[int, Any] = {}
        self._outer: list[Mapping[str, Any]] = []
        self._owner: Any = None

    def function(self, function: Any) -> None:
        """What the result of a function is annotated with."""
        function = _innermost(function)
        annotations = _annotations(function)
        if "return" not in annotations:
            return
        scope = _names_of(function)
        self._outer = scope
        owner, _, _ = getattr(function, "__qualname__", "").rpartition(".")
        self._owner = self._look_up(owner.split("."), scope) if owner else None
        self._hint(annotations["return"], scope)

    def cls(self, cls: type) -> None:
        """A class, and what its fields are annotated with."""
        if id(cls) in self._met:
            return
        self._met[id(cls)] = cls
        self.found[cls] = None
        if not _has_fields(cls):
            return
        for base in cls.__mro__[:-1]:
            module = vars(sys.modules.get(base.__module__, builtins))
            scope = [{base.__name__: base}, vars(base), module, *self._outer, vars(builtins)]
            for name, hint in _annotations(base).items():
                # What a generic model says of its own fields is more than what was written.
                field = getattr(cls, "__pydantic_fields__", {}).get(name)
                self._hint(hint if field is None else field.annotation, scope)

    def _hint(self, hint: Any, scope: Scope) -> None:
        if isinstance(hint, str):
            self._text(hint, scope)
            return
        if isinstance(hint, (list, tuple)):
            for part in hint:
                self._hint(part, scope)
            return
        if hint is None or id(hint) in self._met:
            return
        if getattr(hint, "__origin__", None) is None and isinstance(hint, type):
            self.cls(hint)
            return
        self._met[id(hint)] = hint
        if hint is getattr(sys.modules.get("typing"), "Self", _MISSING):
            self._hint(self._owner, scope)
        enum_meta = getattr(sys.modules.get("enum"), "EnumMeta", ())
        if isinstance(type(hint), enum_meta):
            self.cls(type(hint))
            return
        module = sys.modules.get(getattr(hint, "__forward_module__", None) or "")
        if module is not None:
            scope = [vars(module), *scope]
        for name in ("__origin__", "__args__", "__supertype__", "__bound__", "__constraints__", "__forward_arg__"):
            self._hint(getattr(hint, name, None), scope)
        try:
            self._hint(getattr(hint, "__value__", None), scope)
        except NameError:
            # A `type` statement that names what is not there yet.
            self.complete = False

    def _text(self, text: str, scope: Scope) -> None:
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError):
            return
        self._node(tree.body, scope)

    def _node(self, node: ast.AST, scope: Scope, literal: bool = False) -> None:
        names = _dotted(node)
        if names:
            found = self._look_up(names, scope)
            if found is _MISSING:
                self.complete = False
            else:
                self._hint(found, scope)
            return
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and not literal:
                self._text(node.value, scope)
            return
        if isinstance(node, ast.Subscript):
            literal = literal or _dotted(node.value)[-1:] == ["Literal"]
        for child in ast.iter_child_nodes(node):
            self._node(child, scope, literal)

    def _look_up(self, names: list[str], scope: Scope) -> Any:
        for space in scope:
            found = space.get(names[0], _MISSING)
            for name in names[1:]:
                found = getattr(found, name, _MISSING)
            if found is not _MISSING:
                return found
        return _MISSING


def _dotted(node: ast.AST) -> list[str]:
    """The names of `a.b.c`; none of anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def _innermost(function: Any) -> Any:
    """The function that was written, below wrappers, `functools.partial` and methods."""
    for _ in range(100):
        inner = getattr(function, "__wrapped__", None) or getattr(function, "__func__", None)
        if inner is None and type(function).__module__ == "functools":
            inner = getattr(function, "func", None)
        if inner is None and not hasattr(function, "__annotations__"):
            inner = getattr(type(function).__call__, "__wrapped__", type(function).__call__)
        if inner is None or inner is function:
            break
        function = inner
    return function


def _annotations(annotated: Any) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        try:
            return annotationlib.get_annotations(annotated, format=annotationlib.Format.FORWARDREF)
        except TypeError:
            return {}
    own = (
        vars(annotated)
        if isinstance(annotated, type)
        else {"__annotations__": getattr(annotated, "__annotations__", {})}
    )
    return dict(own.get("__annotations__") or {})


def _names_of(function: Any) -> list[Mapping[str, Any]]:
    """The names that a function sees."""
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    cells = getattr(function, "__closure__", None) or ()
    closed: dict[str, Any] = {name: _content(cell) for name, cell in zip(names, cells)}
    known: dict[str, Any] = getattr(function, "__globals__", {})
    return [closed, known, vars(builtins)]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _has_fields(cls: type) -> bool:
    marks = (
        "__dataclass_fields__",
        "__attrs_attrs__",
        "__struct_fields__",
        "__pydantic_fields__",
        "_fields",
        "__total__",
    )
    return any(hasattr(cls, mark) for mark in marks)
