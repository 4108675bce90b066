"""The examples of the reference: a cell that readers can run and that calls a name, else a place in the package."""
import ast
import re
import textwrap
from dataclasses import dataclass

from checks import code_of, directives, words_of

CHOICE, LONGEST = 6, 12  # examples to choose the shortest from; lines
NO_EXAMPLE = {"export", "exporti", "default_exp", "slow", "cuda", "oxford"}  # directives of cells that are none
WAYS = ("calls", "orders", "words", "names")  # how a cell may use a name, the best first
WAYS_IN_PACKAGE = ("calls", "words", "names")
BY_WORD = ("orders", "words")  # those that use the word under which something is registered


@dataclass(frozen=True)
class Use:
    "A cell that readers can run: what it calls, and what else it names."
    code: str
    said: str  # the text that it gave
    calls: set[str]
    names: set[str]
    orders: set[str]  # texts that a call begins with: shell("train")
    words: set[str]  # all texts that it gives to calls
    is_hidden: bool  # not on the page

    @property
    def is_long(self) -> bool:
        return len(self.code.splitlines()) > LONGEST


@dataclass(frozen=True)
class Place:
    "A statement in the package, without the statements inside it: what it calls, and what else it names."
    code: str
    owner: str  # the function or class that it belongs to
    calls: set[str]
    names: set[str]
    words: set[str]


def uses_in(cells) -> list[Use]:
    "The cells of a notebook that may serve as examples: they run everywhere, export nothing and check no exercise."
    found = []
    for cell in cells:
        flags = directives(cell).keys()
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and not NO_EXAMPLE & flags and "hide-input" not in tags:
            code = code_of(cell)
            nodes = [*ast.walk(tree_of(code))]
            given = [node.args for node in nodes if isinstance(node, ast.Call) and node.args
                     and not ast.unparse(node.func).startswith("test_")]
            orders = {args[0].value for args in given if isinstance(args[0], ast.Constant)}
            words = words_given(given)
            found.append(Use(code, text_output(cell), called_in(nodes), named_in(nodes), orders & words, words,
                             "hide" in flags))
    return found


def places_in(cells) -> list[Place]:
    "The statements of the cells that a notebook exports."
    found = []
    for cell in cells:
        if {"export", "exporti"} & directives(cell).keys():
            code = code_of(cell)
            for node in tree_of(code).body:
                statements = [inner for inner in ast.walk(node) if isinstance(inner, ast.stmt)]
                for statement in statements:
                    found += places_of(statement, code, getattr(node, "name", ""))
    return found


def places_of(statement: ast.stmt, code: str, owner: str) -> list[Place]:
    "A statement as a place, of one that holds others (`if`, `def`) what stands before them; the calls of a long one."
    nodes, holds_others = nodes_of(statement)
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    last = statement.body[0].lineno - 1 if holds_others else statement.end_lineno
    lines = code.splitlines()[first - 1:last]
    if len(lines) > LONGEST:
        calls = [node for node in nodes if isinstance(node, ast.Call) and node.end_lineno - node.lineno < LONGEST]
        return [place_of([*ast.walk(call)], ast.get_source_segment(code, call), owner) for call in calls]
    return [place_of(nodes, textwrap.dedent("\n".join(lines)) + "\n    ..." * holds_others, owner, decorators)]


def nodes_of(statement: ast.stmt) -> tuple[list[ast.AST], bool]:
    "The nodes of a statement without those of statements inside it, and whether there are any below its first line."
    inner = [child for part in ("body", "orelse", "handlers", "finalbody") for child in getattr(statement, part, [])]
    children = [child for child in ast.iter_child_nodes(statement) if child not in inner]
    holds_others = bool(inner) and inner[0].lineno > statement.lineno
    return [node for child in children for node in ast.walk(child)], holds_others


def place_of(nodes, code: str, owner: str, decorators=()) -> Place:
    names = {decorator.id for decorator in decorators if isinstance(decorator, ast.Name)}
    given = [[*node.args, *(word.value for word in node.keywords)] for node in nodes if isinstance(node, ast.Call)]
    words = {word for text in words_given(given) for word in re.findall(r"\w+", text)}
    return Place(code, owner, called_in(nodes) | names, named_in(nodes), words)


def called_in(nodes) -> set[str]:
    return {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def named_in(nodes) -> set[str]:
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def words_given(calls) -> set[str]:
    "The texts in the arguments of calls."
    return {node.value for args in calls for arg in args for node in ast.walk(arg)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def tree_of(code: str) -> ast.Module:
    "The syntax of a cell without the lines in IPython's own language; nothing where that does not suffice."
    try:
        return ast.parse(re.sub(r"^[%!].*$", "", code, flags=re.M))
    except SyntaxError:
        return ast.Module([], [])


def text_output(cell) -> str:
    "What a cell gave, where that is a few lines of text."
    texts = [words_of(output) for output in cell["outputs"] if "image/png" not in output.get("data", {})]
    text = "\n".join(texts).rstrip()
    is_short = len(text.splitlines()) <= LONGEST
    return text if is_short and "```" not in text and not text.startswith("<Figure") else ""


def give_examples(reference, uses: dict[str, list[Use]], places: dict[str, list[Place]]):
    """An example for each function and class: a cell that calls it, in its own notebook or else in one that imports
    it; a cell that uses the word under which it is registered, or hands it on as a value; for a class that nobody
    calls, the example of a function that returns it; for what only the package itself calls, such a place."""
    entries = [entry for entry in reference.entries if entry.kind in ("function", "class")]
    for entry in entries:
        entry.example = example_in_a_cell(entry, reference, uses)
    makers = {one.returns.type.strip("'"): one for one in reversed(reference.entries) if one.returns and one.example}
    for entry in entries:
        if not entry.example and entry.kind == "class" and entry.name in makers:
            entry.example = makers[entry.name].example
        entry.example = entry.example or example_in_the_package(entry, reference, places)


def pages_for(entry, reference, pages) -> tuple[list[str], list[str]]:
    "The pages to look on for an example: its own, and those that import it; for a word, its whole house too."
    face = reference.about.get(entry.module.rpartition(".")[0], [""])[0]
    rooms = [page for page in pages if entry.word and page.startswith(f"{entry.page.rpartition('/')[0]}/")]
    elsewhere = [page for page in pages if page != entry.page and reference.means(page, entry)]
    return [entry.page], elsewhere + ([face] if entry.word and face else []) + rooms


def found_for(entry, reference, things: dict, ways):
    """What uses a name, by its name or by the word under which it is registered: (name or word, uses or places), the
    best way first, and its own page before others."""
    for way in ways:
        name = entry.word if way in BY_WORD else entry.name
        for pages in pages_for(entry, reference, things) if name else ():
            yield name, [thing for page in pages for thing in things[page] if name in getattr(thing, way)]


def example_in_a_cell(entry, reference, uses) -> str:
    "The shortest of the first few cells that call a name and give a text; else a statement out of a longer cell."
    for name, some in found_for(entry, reference, uses, WAYS):
        for hidden in (False, True):
            if example := best_cell(name, [use for use in some if use.is_hidden == hidden]):
                return example
    return ""


def best_cell(name: str, uses: list[Use]) -> str:
    "The shortest of the first cells that are short, in Markdown with what it gave; else a statement of a long one."
    short = [use for use in uses if not use.is_long][:CHOICE]
    if short:
        best = min(short, key=lambda use: (not use.said, len(use.code)))
        return f"```python\n{best.code}\n```" + (f"\n\n```text\n{best.said}\n```" if best.said else "")
    found = [statement for use in uses for statement in statements_with(name, use.code)]
    return f"```python\n{min(found[:CHOICE], key=len)}\n```" if found else ""


def statements_with(name: str, code: str):
    "The statements of a cell that hold a name or a word and are short enough to be read alone."
    for statement in tree_of(code).body:
        lines = code.splitlines()[statement.lineno - 1:statement.end_lineno]
        held = {getattr(node, "id", getattr(node, "value", "")) for node in ast.walk(statement)
                if isinstance(node, (ast.Name, ast.Constant))}
        if name in held and len(lines) <= LONGEST:
            yield "\n".join(lines)


def example_in_the_package(entry, reference, places) -> str:
    "The shortest of the first few places in the package that call a name, with the function that they belong to."
    for _, some in found_for(entry, reference, places, WAYS_IN_PACKAGE):
        found = [place for place in some if place.owner != entry.name]
        public = [place for place in found if place.owner and not place.owner.startswith("_")]
        if found:
            best = min((public or found)[:CHOICE], key=lambda place: len(place.code))
            where = f"In `{best.owner}`" if public else "In the package"
            return f"{where}:\n\n```python\n{best.code}\n```"
    return ""
