"""A digest of the source of a class or function of yours: what it is made of, as far as that is your code too.

Counted are its own source, that of its bases, and of the functions, classes and constants of your modules that any of
these name. Code of installed packages is not, as torch itself is not: a manifest says which torch made a state.
Comments, blank lines and docstrings do not count, and neither does the module: code that moves from a notebook into a
file stays the same.
"""

import ast
import hashlib
import inspect
import io
import linecache
import site
import sys
import sysconfig
import textwrap
import tokenize
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from lrpath.errors import ConfigError

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@lru_cache(maxsize=256)
def digest_source(value: Any, *, name: str) -> str:
    """Return the SHA-256 [hex, 16 digits] of the source of a class or function and of what of yours it uses.

    It is kept once it is made: what runs is what was imported, whatever becomes of the file.

    Args:
        value: The class or function.
        name: What it is called, for messages.

    Raises:
        ConfigError: If a source cannot be read, or is not that of the code which was imported.
    """
    parts = sorted({part for one in _reached(value) for part in [_text_of(one, name=name)]})
    constants = sorted(set(_constants(value)))
    return hashlib.sha256("\0".join([*parts, *constants]).encode()).hexdigest()[:16]


def plain_source(source: str) -> str:
    r"""Return a source without comments, blank lines and docstrings.

    >>> print(plain_source("def double(x):\n    'Say so.'\n\n    return 2 * x  # twice\n"))
    def double(x):
        return 2 * x
    """
    lines = [list(line) for line in source.splitlines()]
    inside: set[int] = set()  # lines that begin inside a string, where blanks count
    depth: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (first, begin), (last, _) = token.start, token.end
        kind = tokenize.tok_name[token.type]
        if kind == "COMMENT":
            del lines[first - 1][begin:]
        elif kind == "STRING":
            inside.update(range(first + 1, last + 1))
        elif kind.endswith("STRING_START"):
            depth.append(first)
        elif kind.endswith("STRING_END"):
            inside.update(range(depth.pop() + 1, last + 1))
    documented = set(_docstring_lines(source))
    texts = [("".join(line), number) for number, line in enumerate(lines, start=1) if number not in documented]
    return "\n".join(
        text if number + 1 in inside else text.rstrip() for text, number in texts if text.strip() or number in inside
    )


def _docstring_lines(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            alone = len(node.body) > 1  # else the docstring is the body
            if alone and isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def _reached(value: Any) -> list[Any]:
    """Return a class or function and all classes and functions of yours that it reaches, each once."""
    top = _top(value)
    found: list[Any] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if any(one is other for other in found):
            continue
        found.append(one)
        bases = one.__mro__[1:] if isinstance(one, type) else ()
        named = [entry for _, entry in _names_used(one) if isinstance(entry, type | FunctionType)]
        waiting += [entry for entry in (*bases, *named) if _is_own(entry, top=top)]
    return found


def _constants(value: Any) -> Iterator[str]:
    """Yield the plain values of your modules that what is reached names."""
    for one in _reached(value):
        for name, entry in _names_used(one):
            if _is_plain(entry):
                yield f"{name}={entry!r}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(entry) for entry in value)
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(entry) for key, entry in value.items())
    return type(value) in _PLAIN


def _names_used(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the module-level names in the source of a class or function that its module gives a value."""
    try:
        tree = ast.parse(_source_of(value))
    except (OSError, TypeError, SyntaxError):
        return
    space = vars(sys.modules[value.__module__]) if value.__module__ in sys.modules else {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in space:
            yield node.id, space[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = space.get(node.value.id)
            if inspect.ismodule(module) and hasattr(module, node.attr):
                yield f"{node.value.id}.{node.attr}", getattr(module, node.attr)


def _top(value: Any) -> str:
    return str(getattr(value, "__module__", "")).partition(".")[0]


def _is_own(value: Any, *, top: str) -> bool:
    """Say whether code belongs to the package that was named, or is installed nowhere."""
    package = _top(value)
    if package == "lrpath":
        return False
    if package == top:
        return True
    try:
        file = Path(inspect.getfile(value)).resolve()
    except (OSError, TypeError):
        return False  # written in C, or made while the program runs
    return not any(file.is_relative_to(folder) for folder in _installed())


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(place).resolve() for place in (*places, *site.getsitepackages(), site.getusersitepackages()))


def _text_of(value: Any, *, name: str) -> str:
    try:
        linecache.checkcache()
        text = plain_source(_source_of(value))
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):
        raise ConfigError(
            f"{name}: the source of {getattr(value, '__qualname__', value)} cannot be read, so that it has no "
            "identity; write it into a file or a notebook's cell, at the top level of the module",
            value=name,
        ) from None
    _check_is_what_runs(value, name=name)
    return text


def _source_of(value: Any) -> str:
    """Return the source of a class or function, without the indentation of what it stands in.

    Raises:
        OSError: If it is not to be had; also TypeError.
    """
    try:
        return textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):
        # The classes of a notebook have no file, but the code of their methods says in which cell they are.
        codes = [getattr(one, "__code__", None) for one in vars(value).values()]
        for file in {code.co_filename for code in codes if code is not None}:
            source = "".join(linecache.getlines(file))
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ClassDef) and node.name == value.__name__:
                    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                    return textwrap.dedent("".join(source.splitlines(keepends=True)[first - 1 : node.end_lineno]))
        raise


def _check_is_what_runs(value: Any, *, name: str) -> None:
    """Raise if a file compiles to other code than that which was imported: it was edited meanwhile.

    The whole file is compiled: how a method is called depends on what its module imports. A notebook's cell is no file,
    and is never edited without a new class.
    """
    try:
        file = inspect.getsourcefile(value)
    except TypeError:
        return
    if file is None or not Path(file).is_file():
        return
    now = {code.co_qualname: code for code in _codes(_compiled(Path(file).read_text(encoding="utf-8"), file))}
    for function in vars(value).values() if isinstance(value, type) else [value]:
        code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
        if code is None or code.co_filename != file:
            continue  # made by a decorator, or taken over from elsewhere
        if code.co_qualname not in now or not _same(code, now[code.co_qualname]):
            raise ConfigError(
                f"{name}: {file} was edited after it was imported, so that what runs is not what the file says; start "
                "this process again",
                value=name,
            )


@lru_cache(maxsize=16)
def _compiled(source: str, file: str) -> CodeType:
    return compile(source, file, "exec", dont_inherit=True)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _same(one: CodeType, other: CodeType) -> bool:
    constants = [[entry for entry in code.co_consts if not isinstance(entry, CodeType)] for code in (one, other)]
    return (one.co_code, one.co_names, constants[0]) == (other.co_code, other.co_names, constants[1])
