"""The exercises of a chapter, as its notebook has them: the reader's cell with `...` in it, below it the folded cell
that defines a check and calls it, below that the solution."""
import ast
import json
import re
from pathlib import Path

NBS = Path(__file__).parents[1] / "nbs"
SOLUTION = re.compile(r"<summary>Solution</summary>\s+```python\n(.+?)```", re.S)


def checks_in(code: str) -> list[str]:
    "The names of the check functions that a cell defines."
    return re.findall(r"^def (check_\w+)", code, re.M)


def calls_a_check(statement: ast.stmt) -> bool:
    "Whether a statement asks a check about the reader's answer."
    call = getattr(statement, "value", None)
    return (
        isinstance(statement, ast.Expr) and isinstance(call, ast.Call) and ast.unparse(call.func).startswith("check_")
    )


def pairs_in(cells: list) -> list[tuple[int, int]]:
    """The places of the reader's cell, the last code cell before a check, and of the check's cell; for each exercise
    of a notebook."""
    code = [i for i, cell in enumerate(cells) if cell["cell_type"] == "code"]
    return [(before, i) for before, i in zip(code, code[1:]) if checks_in("".join(cells[i]["source"]))]


class Exercises:
    "Check cells, first answers and solutions of a notebook."
    def __init__(self, notebook: str):  # its name, without extension
        cells = json.loads((NBS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
        self.sources = sources = ["".join(cell["source"]) for cell in cells]
        self.pairs = [(sources[reader], sources[check]) for reader, check in pairs_in(cells)]
        self.checks = [check[check.index("def check_"):] for _, check in self.pairs]
        self.starts = [
            f"{reader}\n{self.calls(check)}" for reader, check in self.pairs
        ]  # what runs when nothing is answered
        self.solutions = [code for text in sources for code in SOLUTION.findall(text)]

    @staticmethod
    def calls(check: str) -> str:
        "The lines of a check's cell that call it."
        return "\n".join(ast.unparse(statement) for statement in ast.parse(check).body if calls_a_check(statement))

    def namespace(self, **given) -> dict:  # what the exercises use; with the check functions
        "A namespace to run answers in."
        for _, check in self.pairs:
            tree = ast.parse(check)
            tree.body = [statement for statement in tree.body if not calls_a_check(statement)]
            exec(compile(tree, "<check>", "exec"), given)
        return given
