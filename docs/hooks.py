"""What mkdocs calls while it builds the site: what the code says of itself is put into the pages, and so written once.

A page asks for it by a comment on a line of its own, which nobody sees who reads the plain file::

    <!-- code: command train -->                          the arguments of a command, from what its --help is made of
    <!-- code: command remove own -->                     the same without the fields of RemoveOptions
    <!-- code: options aftermath.config RemoveOptions --> the fields of a class of options, and what they may be
    <!-- code: api aftermath remove -->                   how it is called, its fields and members, its docstring
    <!-- code: docstring aftermath.train.recipe Recipe --> a docstring, read without importing its module
    <!-- code: source aftermath.train.recipe Recipe -->   the fields of a class, or a whole function, read likewise
    <!-- code: table aftermath.evaluate.measures MEASURES title what --> a dictionary, and what of its values is named

Links to files outside of docs/ are right where the plain file is read. On the site they lead to the page that holds the
file (`ELSEWHERE`), or are the file's name alone. What is not there is a warning, and fails a strict build.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import logging
import re
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["ELSEWHERE", "on_files", "on_page_markdown"]

ELSEWHERE = {"src/aftermath/nano/README.md": "nano.md"}
"""Files outside of docs/ that are pages all the same."""

_ROOT = Path(__file__).parents[1]
_log = logging.getLogger("mkdocs.hooks.aftermath")  # below mkdocs' own: a strict build counts its warnings

_ASKED = re.compile(r"^<!-- code: (?P<kind>\w+) (?P<name>[\w. ]+?) -->$", re.MULTILINE)
_OUTWARD = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<path>\.\./[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_TREE = re.compile(r"^\s*[├└]", re.MULTILINE)
_SECTION = re.compile(r"(?P<title>Args|Raises):\n")
_ENTRY = re.compile(r"^(\w+): ", re.MULTILINE)
_MEMBER = re.compile(r"^ +(?P<name>[A-Z0-9_]+) = [^#\n]*# (?P<what>.*)$", re.MULTILINE)
_BOUNDS = (("ge", "from {}"), ("gt", "above {}"), ("le", "to {}"), ("lt", "to below {}"))
_KINDS = {str: "text", Path: "a file or folder", int: "a whole number", float: "a number"}
_METAVARS = {str: "TEXT", Path: "PATH", int: "NUMBER", float: "NUMBER"}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere."""
    from mkdocs.structure.files import File

    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(_ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put into a page what it asks for, and turn links that lead out of docs/ into what the site has."""

    def asked(match: re.Match[str]) -> str:
        try:
            return "\n".join(_MAKERS[match["kind"]](*match["name"].split()))
        except (AttributeError, ImportError, KeyError, OSError, TypeError) as error:
            _log.warning("%s: %s: %s: %s", page.file.src_uri, match[0], type(error).__name__, error)
            return ""

    def outward(match: re.Match[str]) -> str:
        path = match["path"].removeprefix("../")
        if path in ELSEWHERE:
            return f"[{match['text']}]({ELSEWHERE[path]}{match['anchor'] or ''})"
        if not (_ROOT / path).exists():
            _log.warning("%s: a link to %s, which is not there", page.file.src_uri, path)
        text = match["text"]
        return f"`{path}`" if path.endswith(text.strip("`")) else f"{text} (`{path}`)"

    return _ASKED.sub(asked, _OUTWARD.sub(outward, markdown))


def _row(*cells: str) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def _table(*heads: str) -> Iterator[str]:
    yield from ("", _row(*heads), _row(*["---"] * len(heads)))


def _shown(default: Any) -> str:
    """A default, for people."""
    if isinstance(default, bool):
        return "on" if default else "off"
    value = default.value if isinstance(default, Enum) else default
    return "" if value in (None, "", [], (), dataclasses.MISSING) else f"`{value}`"


def _command(name: str, which: str = "all") -> Iterator[str]:
    from typer.main import get_command

    from aftermath.cli import app
    from aftermath.config import RemoveOptions

    command: Any = get_command(app)
    elsewhere = {item.name for item in dataclasses.fields(RemoveOptions)} if which == "own" else set()
    yield from _table("argument", "default", "what")
    for one in command.commands[name].params:
        if one.name not in elsewhere and not getattr(one, "hidden", False):
            yield _row(_written(one), _shown(one.default), one.help or "")


def _written(one: Any) -> str:
    """An argument as it is typed."""
    if not one.opts[0].startswith("-"):
        return f"`{one.metavar}`"
    words = ", ".join(f"`{word}`" for word in one.opts)
    if one.is_flag:
        return words
    kind = one.type_descriptor.annotation
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    values = [item.value for item in kind] if issubclass(kind, Enum) else [one.metavar or _METAVARS[kind]]
    return f"{words} {', '.join(f'`{value}`' for value in values)}"


def _options(module: str, name: str) -> Iterator[str]:
    cls = getattr(import_module(module), name)
    inherited = {item for base in cls.__mro__[1:] for item in getattr(base, "__dataclass_fields__", {})}
    yield from _table("option", "may be", "default", "what")
    for item in dataclasses.fields(cls):
        if item.name not in inherited:
            field = cls.__pydantic_fields__[item.name]
            option = item.name.replace("_", "-")
            words = f"`--{option}`, `--no-{option}`" if field.default is True else f"`--{option}`"
            yield _row(words, _allowed(field), _shown(field.default), field.description)


def _allowed(field: Any) -> str:
    kind = field.annotation
    if issubclass(kind, Enum):
        return ", ".join(f"`{one.value}`" for one in kind)
    if kind is bool:
        return "a switch"
    told = [_KINDS[kind]]
    for name, form in _BOUNDS:
        told += [form.format(getattr(rule, name)) for rule in field.metadata if hasattr(rule, name)]
    steps = [f", a multiple of {rule.multiple_of}" for rule in field.metadata if hasattr(rule, "multiple_of")]
    return " ".join(told) + "".join(steps)


def _api(module: str, name: str) -> Iterator[str]:
    thing = getattr(import_module(module), name)
    if inspect.isfunction(thing):
        arguments, back = _signature(thing)
        told = [f"{module}.{name}(", *(f"    {argument}," for argument in arguments), f"){back}"]
        yield from ("```python", *told, "```", "")
    yield from _prose(inspect.getdoc(thing) or "")
    if not inspect.isclass(thing) or hasattr(thing, "__pydantic_fields__"):  # whose fields `_options` tells
        return
    if issubclass(thing, Enum):
        yield from _members(thing)
        return
    if dataclasses.is_dataclass(thing):
        told = [f"{item.name}: {item.type}" for item in dataclasses.fields(thing)]
        yield from ("```python", *told, "```", "")
    for called, member in vars(thing).items():
        is_property = isinstance(member, property)
        made_of = member.fget if is_property else getattr(member, "__func__", member)
        if called[0] == "_" or not inspect.isfunction(made_of) or not made_of.__doc__:
            continue
        arguments, back = _signature(made_of)
        call = "" if is_property else f"({', '.join(arguments)})"
        yield from (f"`{called}{call}{back}`", "")
        yield from _prose(inspect.getdoc(made_of) or "")


def _members(kind: type[Enum]) -> Iterator[str]:
    """The values that there are, with what stands beside them in the source."""
    why = {match["name"]: match["what"] for match in _MEMBER.finditer(inspect.getsource(kind))}
    for one in kind:
        named = "" if isinstance(one, str) else f" {one.name}"
        yield f"- `{one.value}`{named}" + (f": {why[one.name]}" if one.name in why else "")
    yield ""


def _signature(function: Callable[..., Any]) -> tuple[list[str], str]:
    """Its arguments, and what it gives back."""
    words: list[str] = []
    signature = inspect.signature(function)
    for one in signature.parameters.values():
        if one.name in ("self", "cls"):
            continue
        if one.kind is one.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        kind = "" if one.annotation is one.empty else f": {one.annotation}"
        words.append(f"{one.name}{kind}" + ("" if one.default is one.empty else f" = {one.default!r}"))
    given_back = signature.return_annotation
    return words, "" if given_back is signature.empty else f" -> {given_back}"


def _prose(docstring: str) -> Iterator[str]:
    """A docstring as Markdown: it nearly is, but for what is drawn."""
    drawn = False
    for part in docstring.split("\n\n"):
        if (section := _SECTION.match(part)) is not None:
            entries = _ENTRY.split(textwrap.dedent(part[section.end() :]))[1:]
            yield from (f"{section['title']}:", "")
            yield from (
                f"- `{entry}`: {' '.join(text.split())}"
                for entry, text in zip(entries[::2], entries[1::2], strict=True)
            )
            yield ""
        elif drawn or _TREE.search(part):
            yield from ("```text", textwrap.dedent(part).rstrip(), "```", "")
        elif part.strip() != "::":
            yield from (re.sub(r"::$", ":", part), "")
        drawn = part.endswith("::")


def _parsed(module: str, name: str = "") -> tuple[ast.AST, str]:
    """What ``name`` (or the module itself) is in the syntax tree, and the source that it lies in."""
    path = _ROOT / "src" / Path(*module.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    tree = ast.parse(source)
    found: ast.Module | ast.ClassDef | ast.FunctionDef = tree
    for part in name.split(".") if name else []:  # Class.method
        named = {node.name: node for node in found.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        found = named[part]
    return found, source


def _docstring(module: str, name: str = "") -> Iterator[str]:
    node, _ = _parsed(module, name)
    assert isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    yield from _prose(ast.get_docstring(node) or "")


def _source(module: str, name: str) -> Iterator[str]:
    node, source = _parsed(module, name)
    parts: list[ast.AST] = [node]
    if isinstance(node, ast.ClassDef):
        parts = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    yield from ("```python", *(str(ast.get_source_segment(source, part)) for part in parts), "```")


def _listed(module: str, name: str, *heads: str) -> Iterator[str]:
    yield from _table("name", *heads)
    for key, value in getattr(import_module(module), name).items():
        yield _row(f"`{key}`", *(str(getattr(value, head)) for head in heads))


_MAKERS: dict[str, Callable[..., Iterator[str]]] = {
    "api": _api,
    "command": _command,
    "docstring": _docstring,
    "options": _options,
    "source": _source,
    "table": _listed,
}
