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
from pathlib import Path

import contents
from checks import code_of, directives, text_of
from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

PACKAGE = "petbreeds"
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")
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
    return any(p.meaning for p in [*entry.parameters, *([entry.returns] if entry.returns else [])])


def comments_in(code: str) -> dict[int, str]:
    "The comments of a piece of code by line, without the sign."
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def typed(annotation, meaning: str):
    "Type and meaning of an annotation; typer's `Annotated` brings the meaning itself."
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        kind, option = annotation.slice.elts[:2]
        helps = [ast.literal_eval(word.value) for word in option.keywords if word.arg == "help"]
        return ast.unparse(kind), (helps or [meaning])[0]
    return (ast.unparse(annotation) if annotation else ""), meaning


def parameters_of(function, comments) -> list[Parameter]:
    "The parameters of a function; a comment at the end of a line explains the last one on it."
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    found = list(zip(positional, [None] * (len(positional) - len(given.defaults)) + given.defaults))
    found += [(given.vararg, None)] if given.vararg else []
    found += [*zip(given.kwonlyargs, given.kw_defaults)] + ([(given.kwarg, None)] if given.kwarg else [])
    found = [(arg, default) for arg, default in found if arg.arg not in ("self", "cls")]
    ends = [max(arg.end_lineno, default.end_lineno if default else 0) for arg, default in found]
    returned = function.returns.end_lineno if function.returns else None
    out, bare_star = [], bool(given.kwonlyargs and not given.vararg)
    for i, (arg, default) in enumerate(found):
        last_on_line = ends[i] not in ends[i + 1:] and ends[i] != returned
        kind, meaning = typed(arg.annotation, comments.get(ends[i], "") if last_on_line else "")
        stars = "*" if arg is given.vararg else "**" if arg is given.kwarg else ""
        if bare_star and arg in given.kwonlyargs:
            out.append(Parameter("*"))
            bare_star = False
        out.append(Parameter(stars + arg.arg, kind, ast.unparse(default) if default else "", meaning))
    return out


def returns_of(function, comments):
    "What a function returns, with the comment beside it."
    meaning = comments.get(function.returns.end_lineno, "") if function.returns else ""
    if not function.returns or (ast.unparse(function.returns) == "None" and not meaning):
        return None
    return Parameter("returns", ast.unparse(function.returns), meaning=meaning)


def function_entry(node, comments, owner: str = "") -> Entry:
    return Entry(f"{owner}.{node.name}" if owner else node.name, "method" if owner else "function",
                 ast.get_docstring(node) or "", parameters_of(node, comments), returns_of(node, comments))


def class_entry(node, comments) -> Entry:
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
                entry.parameters = parameters_of(item, comments)
            elif not item.name.startswith("_") and ast.get_docstring(item):
                entry.methods.append(function_entry(item, comments, node.name))
    return entry


def entries_in(code: str) -> list[Entry]:
    "The public names that an exported cell defines."
    comments, found = comments_in(code), []
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            patched = any(ast.unparse(decorator) == "patch" for decorator in node.decorator_list)
            owner = ast.unparse(node.args.args[0].annotation) if patched else ""
            if "|" not in owner and "(" not in owner:
                found.append(function_entry(node, comments, owner))
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found.append(class_entry(node, comments))
        elif isinstance(node, ast.Assign):
            names = [
                name.id
                for target in node.targets
                for name in (target.elts if isinstance(target, ast.Tuple) else [target])
                if isinstance(name, ast.Name)
            ]
            found += [Entry(name, "data", comments.get(node.end_lineno, "")) for name in names
                      if CONSTANT.fullmatch(name) and not found_again(found, name)]
    return found


def found_again(entries, name) -> bool:
    return any(entry.name == name for entry in entries)


@dataclass
class Reference:
    "All exported names of the notebooks in a folder."
    entries: list[Entry] = field(default_factory=list)
    about: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # module: (notebook, its title, its line)
    handed_on: dict[str, list[str]] = field(default_factory=dict)  # module: names of other modules that it exports too
    imported: dict[str, set[str]] = field(default_factory=dict)  # notebook: names that it imports from the package

    def after_cell(self, page: str, cell: int) -> list[Entry]:
        return [entry for entry in self.entries if (entry.page, entry.cell) == (page, cell)]

    def of_module(self, module: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.module == module]

    def modules(self) -> list[str]:
        "The modules that export anything."
        return [module for module in self.about if self.of_module(module) or self.handed_on.get(module)]

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
    try:
        tree = ast.parse(re.sub(r"^[%!].*$", "", code, flags=re.M))
    except SyntaxError:  # more of IPython's own language
        return set()
    return {
        name.name
        for node in ast.walk(tree)
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
    for page in sorted(there, key=lambda page: order.get(page, len(order))):
        cells = json.loads(there[page].read_text(encoding="utf-8"))["cells"]
        reference.imported[page] = set().union(
            *(imports_in(code_of(cell)) for cell in cells if cell["cell_type"] == "code")
        )
        module = next((d["default_exp"] for d in map(directives, cells) if d.get("default_exp")), None)
        if page == contents.ROOT or not module:
            continue
        module = f"{PACKAGE}.{module}".removesuffix(".__init__")
        reference.about[module] = (page, *title_and_line(cells))
        for i, cell in enumerate(cells):
            if "export" in directives(cell):
                reference.handed_on.setdefault(module, []).extend(handed_on_in(code_of(cell)))
                for entry in entries_in(code_of(cell)):
                    if not found_again(reference.of_module(module), entry.name):
                        entry.module, entry.page, entry.cell = module, page, i
                        reference.entries.append(entry)
    return reference


def title_and_line(cells) -> tuple[str, str]:
    "The title of a notebook and the line below it that begins with '>'."
    text = "\n".join(text_of(cell) for cell in cells if cell["cell_type"] == "markdown")
    title, line = re.search(r"^# (.+)", text, re.M), re.search(r"^> (.+(?:\n> .+)*)", text, re.M)
    return (title[1].strip() if title else ""), (re.sub(r"\n> ?", " ", line[1]).strip() if line else "")


def table(entry) -> list[str]:
    "Parameters and what is returned as a Markdown table."
    def cell(text):
        return text.replace("\n", " ").replace("|", "\\|")

    def code(text):
        return f"`{cell(text)}`" if text else ""

    rows = [p for p in entry.parameters if p.name != "*"] + ([entry.returns] if entry.returns else [])
    head = "field" if entry.kind == "class" and not entry.returns else "parameter"
    return [
        f"| {head} | type | meaning |",
        "|---|---|---|",
        *(
            f"| {'*returns*' if p is entry.returns else code(p.name)} | {code(p.type)} | {cell(p.meaning)} |"
            for p in rows
        ),
    ]


def markdown(entry: Entry, index: bool = True, depth: int = 0) -> str:
    "An entry as a directive in MyST; without `index` it is a copy that names do not lead to."
    fence, own = "`" * (8 - depth), entry.name.split(".")[-1] if depth else entry.name
    call = entry.signature.replace(entry.name, own, 1)
    lines = (
        [f"{fence}{{py:{entry.kind}}} {call}", f":module: {entry.module}"] + ([] if index else [":no-index:"]) + [""]
    )
    lines += [entry.doc, ""] + ([*table(entry), ""] if has_table(entry) else [])
    lines += [markdown(method, index, depth + 1) for method in entry.methods]
    return "\n".join([*lines, fence])


def after_cell(entries) -> str:
    "The entries for what a cell exports; more than two are folded, so that the text is not lost between them."
    cards = "\n\n".join(markdown(entry) for entry in entries)
    if len(entries) < 3 and any(entry.kind != "data" for entry in entries):
        return cards
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
        out += [f"## {entry.name}", "", markdown(entry, index=False), ""]
    return "\n".join(out)


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
