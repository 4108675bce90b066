"""The reference: what the notebooks export, read from their cells without importing anything.

Each exported name gets an entry after the cell that defines it, and the same entry on the page of its module in
`api/`, which is written before Sphinx reads its sources. A name in backticks becomes a link to its entry.
"""
import ast
import io
import json
import re
import tokenize
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import contents
from checks import FENCE, code_of, directives, text_of
from docutils import nodes
from examples import give_examples, places_in, tree_of, uses_in
from sphinx.transforms.post_transforms import SphinxPostTransform

PACKAGE = "petbreeds"
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")
RAISES = re.compile(r"\b(\w+(?:Error|Exit))\b:? ((?:if|where|when|for|unless|says|with|naming)\b(?:[^.;]|\.(?=\w))*)")
SHORT_VALUE = 70  # characters
PLAIN_WORD = re.compile(r"[a-z]+")


@dataclass
class Parameter:
    name: str
    type: str = ""
    default: str = ""
    meaning: str = ""


@dataclass
class Entry:
    "An exported function, class, method or constant."
    name: str  # with its class: Checkpoint.save
    kind: str  # function, class, method or data
    doc: str = ""
    parameters: list[Parameter] = field(default_factory=list)
    returns: Parameter | None = None
    methods: list["Entry"] = field(default_factory=list)
    module: str = ""  # petbreeds.layout
    page: str = ""  # the notebook that explains it: 01_layout
    cell: int = 0  # its index there
    section: str = ""  # the heading there under which it stands
    value: str = ""  # of a constant, as code or in words
    raises: list[Parameter] = field(default_factory=list)  # what it refuses
    word: str = ""  # under which a decorator registers it: `@app.command("data")`
    example: str = ""  # a call of it from a notebook, with what it gave; Markdown

    @property
    def path(self):
        return f"{self.module}.{self.name}"

    @property
    def signature(self):
        "The call; with types where no table says them."
        if self.kind == "data" or not (self.parameters or self.kind in ("function", "method")):
            return self.name
        tabled, shown = has_table(self), []
        for p in self.parameters:
            kind = "" if tabled or not p.type else f": {p.type}"
            shown.append(p.name + kind + (f"={p.default}" if p.default else ""))
        returns = f" -> {self.returns.type}" if self.returns and self.returns.type else ""
        return f"{self.name}({', '.join(shown)}){returns}"


def has_table(entry) -> bool:
    "Whether any parameter, or what is returned, is explained."
    return any(p.meaning for p in [*entry.parameters, *([entry.returns] if entry.returns else []), *entry.raises])


def blanks(entry) -> list[str]:
    "Parameters without a meaning, and 'returns' where something is returned and nobody says what."
    parts = [p for p in entry.parameters if p.name != "*"] + ([entry.returns] if entry.returns else [])
    return [p.name for p in parts if not p.meaning]


def comments_in(code: str) -> dict[int, str]:
    "The comments of a piece of code by line, without the sign."
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def typed(annotation, meaning: str, short):
    "Type and meaning of an annotation; typer's `Annotated` brings the meaning itself, under a short name too."
    annotation = short.get(getattr(annotation, "id", None), annotation)
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        kind, option = annotation.slice.elts[:2]
        helps = [ast.literal_eval(word.value) for word in option.keywords if word.arg == "help"]
        return ast.unparse(kind), (helps or [meaning])[0]
    return (ast.unparse(annotation) if annotation else ""), meaning


def parameters_of(function, comments, short) -> list[Parameter]:
    """The parameters of a function. A comment at the end of a line explains those on it (`x, y,  # a place, px`); one
    behind the bracket that closes them, only the last."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    found = list(zip(positional, [None] * (len(positional) - len(given.defaults)) + given.defaults))
    found += [(given.vararg, None)] if given.vararg else []
    found += [*zip(given.kwonlyargs, given.kw_defaults)] + ([(given.kwarg, None)] if given.kwarg else [])
    found = [(arg, default) for arg, default in found if arg.arg not in ("self", "cls")]
    ends = [max(arg.end_lineno, default.end_lineno if default else 0) for arg, default in found]
    returned = function.returns.end_lineno if function.returns else None
    closed = min(node.lineno for node in function.body) - 1
    out, bare_star = [], bool(given.kwonlyargs and not given.vararg)
    for i, (arg, default) in enumerate(found):
        explained = ends[i] != returned and (ends[i] != closed or i == len(found) - 1)
        kind, meaning = typed(arg.annotation, comments.get(ends[i], "") if explained else "", short)
        stars = "*" if arg is given.vararg else "**" if arg is given.kwarg else ""
        if bare_star and arg in given.kwonlyargs:
            out.append(Parameter("*"))
            bare_star = False
        out.append(Parameter(stars + arg.arg, kind, ast.unparse(default) if default else "", meaning))
    return out


def returns_of(function, comments):
    "What a function returns, with the comment beside it or beside the bracket that closes its parameters."
    end = max([function.lineno, *(node.lineno for node in function.body[:1])]) - 1
    closing = comments.get(end, "") if end > last_parameter_line(function) else ""
    meaning = comments.get(function.returns.end_lineno, "") if function.returns else closing
    kind = ast.unparse(function.returns) if function.returns else ""
    return Parameter("returns", kind, meaning=meaning) if meaning or kind not in ("", "None") else None


def last_parameter_line(function) -> int:
    "The line on which the parameters of a function end."
    given = function.args
    parts = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    parts += [*given.defaults, *given.kw_defaults]
    return max((part.end_lineno for part in parts if part), default=function.lineno)


def raises_of(function) -> list[Parameter]:
    "What a function raises: what its docstring says of it, else the words of the error itself."
    doc, found = " ".join((ast.get_docstring(function) or "").split()), {}
    for name, when in RAISES.findall(doc):
        found.setdefault(name, when.strip())
    for node in own_nodes(function):
        call = node.exc if isinstance(node, ast.Raise) else None
        name = ast.unparse(call.func).split(".")[-1] if isinstance(call, ast.Call) else ""
        if name.endswith(("Error", "Exit", "BadParameter")) and name not in found:
            found[name] = message_of(call)
    return [Parameter("raises", name, meaning=when) for name, when in found.items()]


def own_nodes(function):
    "The nodes of a function without those of functions inside it."
    waiting = [*function.body]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)


def message_of(call) -> str:
    "The message of an error, with three dots for what is filled in."
    if not call.args:
        return ""
    parts = getattr(call.args[0], "values", [call.args[0]])
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in parts)
    text = " ".join(text.split())
    return f"'{text[:90].rstrip()}{' ...' if len(text) > 90 else ''}'" if text.strip(". ") else ""


def function_entry(node, comments, short, owner: str = "") -> Entry:
    return Entry(f"{owner}.{node.name}" if owner else node.name, "method" if owner else "function",
                 ast.get_docstring(node) or "", parameters_of(node, comments, short), returns_of(node, comments),
                 raises=raises_of(node))


def class_entry(node, comments, short) -> Entry:
    "A class: its fields if it is a dataclass or a named tuple, else what it is made with; its documented methods."
    entry = Entry(node.name, "class", ast.get_docstring(node) or "")
    is_dataclass = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    if is_dataclass or "NamedTuple" in map(ast.unparse, node.bases):
        for item in node.body:
            if isinstance(item, ast.AnnAssign):
                entry.parameters.append(
                    Parameter(
                        item.target.id,
                        ast.unparse(item.annotation),
                        ast.unparse(item.value) if item.value else "",
                        comments.get(item.end_lineno, ""),
                    )
                )
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            if item.name == "__init__":
                entry.parameters = parameters_of(item, comments, short)
            elif not item.name.startswith("_") and ast.get_docstring(item):
                entry.methods.append(function_entry(item, comments, short, node.name))
    return entry


def short_types(code: str) -> dict:
    "The names that a cell gives to types with typer's `Annotated`: `_Rate = Annotated[float, ...]`."
    nodes = [node for node in ast.parse(code).body if isinstance(node, ast.Assign)]
    return {name: value for node in nodes for name, value in assigned(node)
            if isinstance(value, ast.Subscript) and ast.unparse(value.value) == "Annotated"}


def entries_in(code: str, short: dict | None = None) -> list[Entry]:
    "The public names that an exported cell defines; `short` are names of types from cells before it."
    comments, found = comments_in(code), []
    short = (short or {}) | short_types(code)
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            patched = any(ast.unparse(decorator) == "patch" for decorator in node.decorator_list)
            owner = ast.unparse(node.args.args[0].annotation) if patched else ""
            if "|" not in owner and "(" not in owner:
                found.append(function_entry(node, comments, short, owner))
                found[-1].word = word_of(node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found.append(class_entry(node, comments, short))
        elif isinstance(node, ast.Assign):
            said = comments.get(node.end_lineno) or comments.get(node.lineno) or ""
            found += [Entry(name, "data", said, value=value_in_words(value)) for name, value in assigned(node)
                      if CONSTANT.fullmatch(name) and not found_again(found, name)]
    return found


def word_of(function) -> str:
    "The word under which a decorator registers a function: `@face_mark(\"blaze\")`; a bare `@app.command()` its name."
    for decorator in function.decorator_list:
        given = [*decorator.args, ast.Constant(function.name)] if isinstance(decorator, ast.Call) else []
        registers = given and (decorator.args or ast.unparse(decorator.func).endswith(".command"))
        if registers and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str):
            return given[0].value
    return ""


def assigned(node: ast.Assign):
    "(name, value) for each name of an assignment, in pairs too: `A, B = 1, 2`."
    for target in node.targets:
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        values = node.value.elts if isinstance(node.value, ast.Tuple) and len(names) > 1 else [node.value] * len(names)
        yield from ((name.id, value) for name, value in zip(names, values) if isinstance(name, ast.Name))


def value_in_words(value) -> str:
    "The value of a constant: as code where it is short, else what kind of thing it is and how it begins."
    code = " ".join(ast.unparse(value).split())
    if len(code) <= SHORT_VALUE:
        return f"`{code}`"
    if isinstance(value, ast.Dict):
        keys = ", ".join(f"`{ast.unparse(key)}`" for key in value.keys[:3] if key)
        return f"a dictionary with {len(value.keys)} entries: {keys}{', ...' if len(value.keys) > 3 else ''}"
    if isinstance(value, (ast.List, ast.Tuple, ast.Set)):
        kind = type(value).__name__.lower()
        return f"a {kind} of {len(value.elts)}: `{' '.join(ast.unparse(value.elts[0]).split())[:SHORT_VALUE]}`, ..."
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        begin = value.value.split()[0][:SHORT_VALUE]
        return f"a text of {len(value.value.splitlines())} lines that begins with `{begin}`"
    return f"`{code[:SHORT_VALUE].rstrip()} ...`"


def borrow_meanings(reference: "Reference"):
    """A parameter without a comment means what its name means in its class; what its type says, or the class that it
    is called like (`animal`, an `Animal`); or what that name means everywhere else in the same folder. What is
    returned means what its type says."""
    types = {entry.name: meaning_of(entry) for entry in reference.entries if entry.kind == "class" and entry.doc}
    for one in [one for entry in reference.entries for one in [entry, *entry.methods] if one.returns]:
        one.returns.meaning = one.returns.meaning or types.get(one.returns.type.strip("'"), "")
    for folder in {folder_of(entry.module) for entry in reference.entries}:
        entries = [entry for entry in reference.entries if folder_of(entry.module) == folder]
        classes = {entry.name.lower(): types[entry.name] for entry in entries if entry.name in types}
        known = {}
        for one in [one for entry in entries for one in [entry, *entry.methods]]:
            for p in one.parameters:
                known.setdefault(p.name, []).extend([p.meaning] if p.meaning else [])
        shared = {name: said[0] for name, said in known.items() if len(said) > 1 and len({*said}) == 1}
        for entry in entries:
            own = {p.name: p.meaning for one in [entry, *entry.methods] for p in one.parameters if p.meaning}
            for p in [p for one in [entry, *entry.methods] for p in one.parameters if p.name != "*"]:
                borrowed = [own.get(p.name), types.get(p.type), classes.get(p.name.lower()), shared.get(p.name)]
                p.meaning = p.meaning or next(filter(None, borrowed), "")


def meaning_of(entry: Entry) -> str:
    "What a class says that it is, in one sentence."
    return f"`{entry.name}`: {entry.doc.split('. ')[0].split('; ')[0].rstrip('.')}"


def folder_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def found_again(entries, name) -> bool:
    return any(entry.name == name for entry in entries)


@dataclass
class Reference:
    "All exported names of the notebooks in a folder."
    entries: list[Entry] = field(default_factory=list)
    about: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # module: (notebook, its title, its line)
    handed_on: dict[str, list[str]] = field(default_factory=dict)  # module: names of other modules that it exports too
    imported: dict[str, set[str]] = field(default_factory=dict)  # notebook: names that it imports from the package
    lines: dict[str, str] = field(default_factory=dict)  # notebook: the line below its title

    def after_cell(self, page: str, cell: int) -> list[Entry]:
        return [entry for entry in self.entries if (entry.page, entry.cell) == (page, cell)]

    def of_module(self, module: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.module == module]

    def modules(self) -> list[str]:
        "The modules that export anything."
        return [module for module in self.about if self.of_module(module) or self.handed_on.get(module)]

    def means(self, page: str, entry: Entry) -> bool:
        "Whether a page that imports a name means this entry by it: no other has that name."
        alone = sum(other.name == entry.name for other in self.entries) == 1
        return alone and bool({entry.name, "*"} & self.imported.get(page, set()))

    def descriptions(self) -> dict[str, str]:
        "The line that says what a page is about, by page."
        lines = {page: plain(line) for page, line in self.lines.items()}
        about = {module: lines.get(page, "") for module, (page, *_) in self.about.items()}
        modules = {f"api/{module}": f"Reference of {module}: {line}" for module, line in about.items()}
        return lines | modules

    def names(self, page: str) -> dict[str, str]:
        """What a name in backticks on a page means: a path.

        A short name must be unique. One plain word, such as `summary`, may mean something else: the page must
        import it too.
        What the page defines itself always counts."""
        known, seen = {}, {}
        for entry in self.entries:
            known[entry.path] = known[entry.path.removeprefix(f"{PACKAGE}.")] = entry.path
            seen.setdefault(entry.name, []).append(entry)
        for name, found in seen.items():
            if len(found) == 1 and (not PLAIN_WORD.fullmatch(name) or name in self.imported.get(page, ())):
                known[name] = found[0].path
        return known | {entry.name: entry.path for entry in self.entries if page in (entry.page, f"api/{entry.module}")}


def imports_in(code: str) -> set[str]:
    "The names that a cell imports from the package."
    return {
        name.name
        for node in ast.walk(tree_of(code))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)
        for name in node.names
    }


def handed_on_in(code: str) -> list[str]:
    "The names in nbdev's `_all_`: imported here, exported again."
    found = re.search(r"^_all_ = (\[.*?\])", code, re.M | re.S)
    return ast.literal_eval(found[1]) if found else []


def read(nbs: Path) -> Reference:
    "What the notebooks of a folder export, in the order of the table of contents."
    reference = Reference()
    there = {nb.relative_to(nbs).with_suffix("").as_posix(): nb for nb in sorted(nbs.rglob("*.ipynb"))
             if ".ipynb_checkpoints" not in nb.parts}
    order = {page: i for i, page in enumerate(contents.pages())}
    uses, places = {}, {}  # by page: the cells that may serve as examples; the statements that it exports
    for page in sorted(there, key=lambda page: order.get(page, len(order))):
        cells = json.loads(there[page].read_text(encoding="utf-8"))["cells"]
        reference.imported[page] = set().union(
            *(imports_in(code_of(cell)) for cell in cells if cell["cell_type"] == "code")
        )
        reference.lines[page] = title_and_line(cells)[1]
        uses[page], places[page] = uses_in(cells), places_in(cells)
        module = next((d["default_exp"] for d in map(directives, cells) if d.get("default_exp")), None)
        if page == contents.ROOT or not module:
            continue
        module = f"{PACKAGE}.{module}".removesuffix(".__init__")
        reference.about[module] = (page, *title_and_line(cells))
        section, short = "", {}
        for i, cell in enumerate(cells):
            if cell["cell_type"] == "markdown":
                section = ([section] + re.findall(r"^#{1,4} (.+?)\s*$", FENCE.sub("", text_of(cell)), re.M))[-1]
            if "export" in directives(cell):
                reference.handed_on.setdefault(module, []).extend(handed_on_in(code_of(cell)))
                short |= short_types(code_of(cell))
                for entry in entries_in(code_of(cell), short):
                    if not found_again(reference.of_module(module), entry.name):
                        entry.module, entry.page, entry.cell, entry.section = module, page, i, section
                        reference.entries.append(entry)
    borrow_meanings(reference)
    give_examples(reference, uses, places)
    return reference


def title_and_line(cells) -> tuple[str, str]:
    "The title of a notebook and the line below it that begins with '>'."
    text = "\n".join(text_of(cell) for cell in cells if cell["cell_type"] == "markdown")
    title, line = re.search(r"^# (.+)", text, re.M), re.search(r"^> (.+(?:\n> .+)*)", text, re.M)
    return (title[1].strip() if title else ""), (re.sub(r"\n> ?", " ", line[1]).strip() if line else "")


def plain(line: str) -> str:
    "A line of Markdown without its signs."
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", line).replace("`", "").replace("*", "")


def table(entry) -> list[str]:
    "Parameters, what is returned and what is raised as a Markdown table, without a column that would be empty."
    def cell(text):
        return text.replace("\n", " ").replace("|", "\\|")

    def code(text):
        return f"`{cell(text)}`" if text else ""

    def name_of(p):
        return f"*{p.name}*" if p is entry.returns or p in entry.raises else code(p.name)

    rows = [p for p in entry.parameters if p.name != "*"] + ([entry.returns] if entry.returns else []) + entry.raises
    head = "field" if entry.kind == "class" and not entry.returns else "parameter"
    columns = [(head, name_of), ("type", lambda p: code(p.type)), ("default", lambda p: code(p.default)),
               ("meaning", lambda p: cell(p.meaning))]
    columns = [(title, show) for title, show in columns if any(map(show, rows))]
    lines = [[title for title, _ in columns], ["---"] * len(columns), *([show(p) for _, show in columns] for p in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def markdown(entry: Entry, index: bool = True, depth: int = 0) -> str:
    "An entry as a directive in MyST; without `index` it is a copy that names do not lead to."
    fence, own = "`" * (8 - depth), entry.name.split(".")[-1] if depth else entry.name
    call = entry.signature.replace(entry.name, own, 1)
    lines = (
        [f"{fence}{{py:{entry.kind}}} {call}", f":module: {entry.module}"] + ([] if index else [":no-index:"]) + [""]
    )
    said = f"{entry.doc[:1].upper()}{entry.doc[1:]}" + ("" if entry.doc.endswith((".", ":")) or not entry.doc else ".")
    value = f"{said} Value: {entry.value}".strip() if entry.value else entry.doc
    lines += [value, ""] + ([*table(entry), ""] if has_table(entry) else [])
    lines += [markdown(method, index, depth + 1) for method in entry.methods]
    return "\n".join([*lines, fence])


def after_cell(entries) -> str:
    "The entries for what a cell exports, folded to one line: the code that says the same was just read."
    cards = "\n\n".join(markdown(entry) for entry in entries)
    names = ", ".join(f"<code>{entry.name}</code>" for entry in entries)
    return f'<details class="api-fold"><summary>Reference: {names}</summary>\n\n{cards}\n\n</details>'


def module_page(reference: Reference, module: str) -> str:
    "The page of a module."
    page, title, line = reference.about[module]
    number = contents.number(page)
    out = [f"# {module}", "", f"```{{py:module}} {module}", "```", "",
           f"{line.rstrip('.')}. Explained in [{f'{number}. ' if number else ''}{title}](../{page}.ipynb).", ""]
    if names := reference.handed_on.get(module):
        out += [f"Also exported here: {', '.join(f'`{name}`' for name in names)}.", ""]
    for entry in reference.of_module(module):
        out += [f"## {entry.name}", "", markdown(entry, index=False), "", explained(entry, page, title), ""]
        out += [entry.example, ""]
    return "\n".join(out)


def explained(entry: Entry, page: str, title: str) -> str:
    "A link to the place where an entry is explained."
    where = f"{title}: {entry.section}" if entry.section and entry.section != title else title
    words = escape(plain(where), quote=False)
    return f'<p class="explained-in">Explained in <a href="../{page}.html#{entry.path}">{words}</a></p>'


def overview_page(reference: Reference) -> str:
    "The page that lists the modules."
    out = [
        "# Reference",
        "",
        "Every exported function and class, module by module: signature, parameters, what is returned. "
        "The chapters show the same entries where the code stands that they describe.",
        "",
        "| module | explained in | |",
        "|---|---|---|",
    ]
    for module in reference.modules():
        page, title, line = reference.about[module]
        out.append(f"| [{module}]({module}.md) | [{title}](../{page}.ipynb) | {line} |")
    short = [f"{module.removeprefix(f'{PACKAGE}.')} <{module}>" for module in reference.modules()]
    return "\n".join([*out, "", contents.toctree(short), ""])


def write_pages(reference: Reference, folder: Path):
    "Write `api/` below the notebooks."
    wanted = {f"{module}.md": module_page(reference, module) for module in reference.modules()}
    write_files(wanted | {"index.md": overview_page(reference)}, folder)


def write_files(wanted: dict[str, str], folder: Path):
    "Write pages by name into a folder, touching only what changed; other pages there are removed."
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


class LinkNames(SphinxPostTransform):
    "Exported names in backticks become links to their entries, modules to their pages."
    default_priority = 5
    NOT_IN = (nodes.reference, nodes.title, nodes.caption)

    def run(self):
        reference = self.app.reference
        page, names = self.env.docname, reference.names(self.env.docname)
        at, modules = {entry.path: entry.page for entry in reference.entries}, set(reference.modules())
        for literal in [*self.document.findall(nodes.literal)]:
            text = literal.astext().removesuffix("()")
            if any(isinstance(parent, self.NOT_IN) for parent in parents(literal)):
                continue
            if text in modules:
                target = self.app.builder.get_relative_uri(page, f"api/{text}")
            elif text in names:
                path = names[text]
                target = f"{self.app.builder.get_relative_uri(page, at[path])}#{path}"
            else:
                continue
            literal.replace_self(
                nodes.reference("", "", literal.deepcopy(), internal=True, refuri=target, classes=["api-link"])
            )


def parents(node):
    while node := node.parent:
        yield node


def source_line(root: Path, path: str) -> tuple[str, int] | None:
    "(file, line) of an exported name in the package."
    parts = path.split(".")
    for n in range(len(parts) - 1, 0, -1):
        for file in (root.joinpath(*parts[:n]).with_suffix(".py"), root.joinpath(*parts[:n], "__init__.py")):
            if file.exists():
                name = re.escape(parts[-1])
                found = re.search(
                    rf"^\s*(?:(?:def|class) {name}\b|{name}\s*[:=]|[\w, ]*\b{name}\b[\w, ]* =)",
                    file.read_text(encoding="utf-8"),
                    re.M,
                )
                line = file.read_text(encoding="utf-8")[:found.end()].count("\n") + 1 if found else 1
                return file.relative_to(root).as_posix(), line
    return None


def prepare(app):
    nbs = Path(app.srcdir)
    app.reference = read(nbs)
    write_pages(app.reference, nbs / "api")


def setup(app):
    app.connect("builder-inited", prepare)
    app.add_post_transform(LinkNames)
    return {"parallel_read_safe": True}
