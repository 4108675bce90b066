"""The rules of the house, each a function over (house, sources) that returns one line for each breach: module or
notebook, cell, what is wrong. `house` is the list of all notebooks in order of import, `sources` what `read` found
of them."""
import ast
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "docs"))
import api
import quiz
from checks import code_of, directives, text_of, where
from exercises import checks_in, pairs_in

PACKAGE = "petbreeds"
WIDE_CHAPTER, WIDE_ROOM = 88, 100  # columns of code
MOST_EXPORTED = 1 / 3  # of a lesson's lines of code
LESSONS = range(1, 15)  # the chapters that are lessons
FEWEST_WORDS = 40  # of a room's prose, headings not counted
MOST_OF_ONE_LETTER = 0.4  # of the right answers of a quiz
SMALL_QUIZ = 5  # questions; below it letters are not counted
HEAVY = ("torch", "fastai", "timm", "torchvision")
LIGHT = ("files", "pictures", "layout", "paperpets")  # modules that import nothing heavy, with their rooms
TEST = re.compile(r"\b(assert|test_\w+|expect_fail|ExceptionExpected)\b")


@dataclass(frozen=True)
class Source:
    "A notebook, and the module that it exports."
    name: str  # layout/sources
    module: str  # layout.sources; layout for a face; '' where nothing is exported
    is_face: bool  # the module is a package's __init__
    cells: list
    root: Path  # of the repository
    file: Path  # petbreeds/layout/sources.py
    written: str  # what stands in the file

    @property
    def package(self) -> str:
        "What a single dot means in the module's imports."
        full = f"{PACKAGE}.{self.module}"
        return full if self.is_face else full.rpartition(".")[0]

    def code(self, exported: bool | None = None) -> list[tuple[int, str]]:
        "(number, code) of the code cells: all, or only those that are exported or not."
        cells = [(i, code_of(cell)) for i, cell in enumerate(self.cells) if cell["cell_type"] == "code"]
        return [(i, text) for i, text in cells if exported is None or is_exported(self.cells[i]) == exported]

    def prose(self) -> str:
        return "\n".join(text_of(cell) for cell in self.cells if cell["cell_type"] == "markdown")

    def at(self, cell: int) -> str:
        return where(self.name, self.cells, cell)


def read(root: Path, house: list[str]) -> dict[str, Source]:
    "The notebooks of a repository by name."
    found = {}
    for name in house:
        cells = json.loads((root / "nbs" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
        exported = next((d["default_exp"] for d in map(directives, cells) if d.get("default_exp")), "")
        file = root.joinpath(PACKAGE, *exported.split(".")).with_suffix(".py")
        written = file.read_text(encoding="utf-8") if exported and file.exists() else ""
        is_face = exported.endswith(".__init__")
        found[name] = Source(name, exported.removesuffix(".__init__"), is_face, cells, root, file, written)
    return found


def is_exported(cell) -> bool:
    return bool({"export", "exporti"} & directives(cell).keys())


def is_room(name) -> bool:
    return "/" in name


def tree_of(code: str) -> ast.Module:
    "The syntax of a cell; lines in IPython's own language are left out."
    return ast.parse(re.sub(r"^(\s*)(%%?[a-z]|![a-z]).*$", r"\1pass", code, flags=re.M))


# Imports

def imported(code: str, package: str) -> set[str]:
    "The modules of our package that a piece of code imports, inside functions too, each with the names taken from it."
    found = set()
    for node in ast.walk(tree_of(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[:len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return {name.removeprefix(f"{PACKAGE}.") for name in found if name.startswith(f"{PACKAGE}.")}


def modules_by_name(sources) -> dict[str, Source]:
    return {source.module: source for source in sources.values() if source.module}


def imports_of(source: Source, known, exported: bool | None = None) -> list[tuple[str, Source]]:
    """(place, imported notebook) for each import of a module of the house, out of the cells and then out of the
    written module."""
    found = [(source.at(i), known[name]) for i, code in source.code(exported)
             for name in sorted(imported(code, source.package)) if name in known]
    if exported is not False:
        there = {target.name for _, target in found}
        found += [
            (f"{PACKAGE}/{source.module}", known[name])
            for name in sorted(imported(source.written, source.package))
            if name in known and known[name].name not in there
        ]
    return [(place, target) for place, target in found if target.name != source.name]


def upward_imports(house, sources):
    "A notebook imports only modules of notebooks above it in the list; the command line may import all."
    known, place_of = modules_by_name(sources), {name: i for i, name in enumerate(house)}
    return [f"{place}: {source.module or source.name} imports {PACKAGE}.{target.module}, which stands after it in HOUSE"
            for source in sources.values() if source.module.split(".")[0] != "cli"
            for place, target in imports_of(source, known) if place_of[target.name] > place_of[source.name]]


def rooms_below_and_above(house, sources):
    "A room is imported by its face, itself or through others, or imports it; never both."
    known = modules_by_name(sources)
    direct = {
        source.name: {target.name for _, target in imports_of(source, known, exported=True)}
        for source in sources.values()
    }

    def reached(name):
        seen, waiting = set(), [name]
        while waiting:
            new = direct[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    faces = {source.module: source for source in sources.values() if source.is_face}
    rooms = [source for source in sources.values() if is_room(source.name) and source.module.split(".")[0] in faces]
    pairs = [(room, faces[room.module.split(".")[0]]) for room in rooms]
    return [f"nbs/{room.name}.ipynb: the room imports its face {PACKAGE}.{face.module}, and the face imports the room"
            for room, face in pairs if face.name in reached(room.name) and room.name in reached(face.name)]


def names_taken(code: str) -> set[str]:
    "The names that a piece of code imports from our package."
    froms = [node for node in ast.walk(tree_of(code)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in froms if node.level or (node.module or "").split(".")[0] == PACKAGE]
    return {alias.asname or alias.name for node in ours for alias in node.names if alias.name != "*"}


def unused_imports(house, sources):
    "What is imported from our package is used or handed on in `_all_`; ruff looks at all other imports."
    found = []
    for source in sources.values():
        trees = [tree_of(code) for _, code in source.code()]
        nodes = [node for tree in trees for node in ast.walk(tree)]
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        used |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        for i, code in source.code():
            found += [f"{source.at(i)}: {name} is imported but unused" for name in sorted(names_taken(code) - used)]
    return found


def names_bound(source: Source) -> set[str]:
    "The names that the exported cells of a notebook define or import."
    found = set()
    for _, code in source.code(exported=True):
        for node in tree_of(code).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, ast.ImportFrom):
                found |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Assign):
                found |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def rooms_named_like_a_function(house, sources):
    "`petbreeds.layout.audit` must mean one thing: no room bears a name that its face has."
    faces = {source.module: source for source in sources.values() if source.is_face}
    found = []
    for source in sources.values():
        package, _, own = source.module.rpartition(".")
        if package in faces and own in names_bound(faces[package]):
            found.append(f"nbs/{source.name}.ipynb: the room has the name of {own}, which {PACKAGE}.{package} exports")
    return found


LOOK = """
import importlib, sys
for name in {modules}:
    before = {{*sys.modules}}
    importlib.import_module(name)
    heavy = sorted(set({heavy}) & ({{*sys.modules}} - before))
    if heavy: print(name, "imports", *heavy)
"""


def heavy_imports(house, sources):
    "Modules that must start quickly import no torch, seen in a process of their own."
    root = next(iter(sources.values())).root
    light = [f"{PACKAGE}.{source.module}" for source in sources.values() if source.module.split(".")[0] in LIGHT]
    code = LOOK.format(modules=[PACKAGE, *light], heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    return done.stdout.splitlines() + ([done.stderr.strip().splitlines()[-1]] if done.returncode else [])


def modules_without_a_notebook(house, sources):
    "A module that no notebook exports is left over from an earlier time."
    exported = {source.file for source in sources.values() if source.module}
    root = next(iter(sources.values())).root
    return [
        f"{file.relative_to(root)}: no notebook exports this module; delete it"
        for file in sorted((root / PACKAGE).rglob("*.py"))
        if file not in exported and file.name not in ("__init__.py", "_modidx.py")
    ]


# Lessons and rooms

def lines_of(code: str) -> int:
    return sum(bool(line.strip()) for line in code.splitlines())


def lessons_of_machinery(house, sources):
    "At most a third of a lesson's lines of code are exported."
    found = []
    for source in sources.values():
        if source.name[:2].isdigit() and source.name[2] == "_" and int(source.name[:2]) in LESSONS:
            exported = sum(lines_of(code) for _, code in source.code(exported=True))
            every = sum(lines_of(code) for _, code in source.code())
            if exported > MOST_EXPORTED * every:
                found.append(
                    f"nbs/{source.name}.ipynb: {exported} of {every} lines of code are exported "
                    f"({exported / every:.0%}, "
                    "at most a third); move machinery into a room"
                )
    return found


def rooms_without_a_test(house, sources):
    return [
        f"nbs/{source.name}.ipynb: the room has no cell that tests it; assert something in one that is not exported"
        for source in sources.values()
        if is_room(source.name) and not any(TEST.search(code) for _, code in source.code(exported=False))
    ]


def rooms_without_prose(house, sources):
    found = []
    for source in sources.values():
        words = len(re.sub(r"^(#|>).*$", "", source.prose(), flags=re.M).split())
        if is_room(source.name) and words < FEWEST_WORDS:
            found.append(
                f"nbs/{source.name}.ipynb: the room has {words} words of prose besides its headings; say why it is as "
                f"it is"
            )
    return found


def wide_cells(house, sources):
    "Code of at most 88 columns in chapters, where people read it, and 100 in rooms."
    found = []
    for source in sources.values():
        most = WIDE_ROOM if is_room(source.name) else WIDE_CHAPTER
        for i, code in source.code():
            width = max(map(len, code.splitlines()), default=0)
            if width > most:
                found.append(f"{source.at(i)}: a line of {width} columns, at most {most}")
    return found


# Questions

def lopsided_quizzes(house, sources):
    "No letter holds more than 40 % of the right answers of a quiz."
    found = []
    for source in sources.values():
        letters = [right for _, options, right, _ in quiz.questions(source.prose()) if options]
        letter, n = Counter(letters).most_common(1)[0] if letters else ("", 0)
        if len(letters) >= SMALL_QUIZ and n > MOST_OF_ONE_LETTER * len(letters):
            found.append(
                f"nbs/{source.name}.ipynb: {n} of {len(letters)} right answers of the quiz are ({letter}); shuffle the "
                f"options"
            )
    return found


def is_ellipsis(node) -> bool:
    return isinstance(node, (ast.Expr, ast.Assign)) and isinstance(node.value, ast.Constant) and node.value.value is ...


def is_docstring(node) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_empty(code: str) -> bool:
    "Whether a reader's cell holds `...` and nothing of an answer: only names to fill in and functions without a body."
    statements = tree_of(code).body
    bodies = [node.body for node in statements if isinstance(node, ast.FunctionDef)]
    given = [node for node in statements if not isinstance(node, ast.FunctionDef)]
    inside = [node for body in bodies for node in body if not is_docstring(node)]
    return bool(given + inside) and all(map(is_ellipsis, given + inside))


def exercises_that_answer(house, sources):
    "The reader's cell before a check starts with `...`, holds nothing else and stores nothing."
    found = []
    for source in sources.values():
        pairs = [] if is_room(source.name) else pairs_in(source.cells)
        for reader, check in pairs:
            name = checks_in(text_of(source.cells[check]))[0]
            cell = source.cells[reader]
            if not is_empty(code_of(cell)):
                found.append(
                    f"{source.at(reader)}: the reader's cell before {name} does not start empty; leave only `...` to "
                    f"fill in"
                )
            elif cell.get("outputs"):
                found.append(f"{source.at(reader)}: the reader's cell before {name} stores an output")
    return found


# The reference

def names_without_a_meaning(house, sources):
    "The reference says of each parameter of a public name what it means, and of each value that is returned."
    root = next(iter(sources.values())).root
    return [f"{sources[entry.page].at(entry.cell)}: {one.name} does not say what {blank} means; write a comment behind "
            f"it: `{blank.lstrip('*')},  # meaning`" if blank != "returns" else
            f"{sources[entry.page].at(entry.cell)}: {one.name} does not say what it returns; write a comment behind "
            "the type: `) -> int:  # meaning`"
            for entry in api.read(root / "nbs").entries
            for one in [entry, *entry.methods] for blank in api.blanks(one)]


RULES = [
    upward_imports,
    rooms_below_and_above,
    rooms_named_like_a_function,
    unused_imports,
    heavy_imports,
    modules_without_a_notebook,
    lessons_of_machinery,
    rooms_without_a_test,
    rooms_without_prose,
    wide_cells,
    lopsided_quizzes,
    exercises_that_answer,
    names_without_a_meaning,
]
