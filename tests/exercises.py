"The exercises of a chapter, as its notebook has them."
import json
import re
from pathlib import Path

NBS = Path(__file__).parents[1] / "nbs"


class Exercises:
    "Check cells, first answers and solutions of a notebook."
    def __init__(self, notebook: str):  # its name, without extension
        cells = json.loads((NBS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
        self.sources = sources = ["".join(cell["source"]) for cell in cells]
        self.checks = [source for source in sources if source.startswith("def check_")]
        self.starts = [source for source in sources if "# your turn" in source]
        self.solutions = [code for text in sources for code in re.findall(r"<summary>Solution</summary>\s+```python\n(.+?)```", text, re.S)]

    def namespace(self, **given) -> dict:  # what the exercises use; with the check functions
        "A namespace to run answers in."
        for source in self.checks:
            exec(source, given)
        return given
