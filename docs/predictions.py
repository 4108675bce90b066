"""Predict, then see: what a chapter asks its reader to predict, and the result that stays covered until then.

A prediction is a paragraph with `**Predict.**` or `*Predict: ...*` in it. Its result begins with the first output or
the first text below it and ends with the first cell of text after that; the code in between stays open. A comment
below the paragraph says what is guessed; without one the reader writes a few words:

    <!-- guess: about 5 | about 20 | about 100 -->
    <!-- guess: number % ; result: share of the head (.+)% -->

The page holds everything. `predict.js` covers the results; without it nothing is covered.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field

from checks import FENCE, text_of, where, words_of

ASKED = re.compile(r"\*{1,2}Predict\b")
COMMENT = re.compile(r"<!--\s*guess:(.*?)-->", re.S)
HEADING = re.compile(r"#{1,6} ")
NUMBER = re.compile(r"-?\d[\d,_]*(?:\.\d+)?(?:e[-+]?\d+)?")
LONGEST = 8  # cells between a prediction and its result; further below nothing is covered


@dataclass
class Guess:
    "What a reader is asked for."

    kind: str = "words"  # words, choice or number
    options: list[str] = field(default_factory=list)  # to choose from
    unit: str = ""  # of a number, such as %
    pattern: str = ""  # finds the result in the output below, in its first group

    @classmethod
    def read(cls, comment: str) -> "Guess":
        asked, _, pattern = (part.strip() for part in comment.partition("; result:"))
        if asked.split()[:1] == ["number"]:
            return cls("number", unit=asked.removeprefix("number").strip(), pattern=pattern)
        options = [option.strip() for option in asked.split("|")]
        return cls("choice", options=options, pattern=pattern)


def blocks(text: str) -> list[str]:
    "The paragraphs of a cell; fenced code and a fold stay whole."
    kept = []

    def keep(found):
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    hidden = re.sub(r"<details.*?</details>", keep, FENCE.sub(keep, text), flags=re.S)

    def back(block):
        while "\0" in block:
            block = re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], block)
        return block

    return [back(block) for block in re.split(r"\n\s*\n", hidden.strip()) if block.strip()]


def asks(block: str) -> bool:
    return bool(ASKED.search(block)) and not block.startswith(("```", "<details", "#", "|"))


def count(cells) -> int:
    "How often a notebook asks for a prediction."
    return sum(asks(block) for cell in cells if cell["cell_type"] == "markdown" for block in blocks(text_of(cell)))


def key_of(question: str, seen: set) -> str:
    "A name for a question that stays while its words stay, so that a reader's record outlives an edition."
    name = hashlib.sha1(" ".join(COMMENT.sub("", question).split()).encode()).hexdigest()[:8]
    while name in seen:
        name += "b"
    seen.add(name)
    return name


def faults(name: str, cells) -> list[str]:
    "Comments that say nothing that can be asked, one line each."
    found = []
    for i, cell in enumerate(cells):
        if cell["cell_type"] != "markdown":
            continue
        for block in blocks(text_of(cell)):
            for comment in COMMENT.findall(block):
                guess = Guess.read(comment)
                if guess.kind == "choice" and len(guess.options) < 2:
                    found.append(
                        f"{where(name, cells, i)}: 'guess:{comment.rstrip()}' offers nothing to choose from; "
                        "write 'guess: this | that' or 'guess: number'"
                    )
                elif guess.pattern and result_of(guess, cells[i + 1 : i + 1 + LONGEST]) is None:
                    found.append(
                        f"{where(name, cells, i)}: no number where 'result: {guess.pattern}' looks for it in "
                        "the outputs below; let the pattern fit the output, with the number in brackets"
                    )
    return found


def result_of(guess: Guess, cells) -> float | None:
    "The number that the outputs of some cells give as the result."
    for cell in cells:
        for output in cell.get("outputs", []):
            found = re.search(guess.pattern, words_of(output))
            number = NUMBER.search(found[1] if found.groups() else found[0]) if found else None
            if number:
                return float(number[0].replace(",", "").replace("_", ""))
    return None


def markdown_cell(text: str) -> dict:
    return {"cell_type": "markdown", "id": "", "metadata": {}, "source": text}


def question_cell(question: str, key: str, cells) -> dict:
    "The box of a question; `predict.js` adds what a reader fills in."
    comment = COMMENT.search(question)
    guess = Guess.read(comment[1]) if comment else Guess()
    asked = {
        "kind": guess.kind,
        "options": guess.options,
        "unit": guess.unit,
        "result": result_of(guess, cells) if guess.pattern else None,
    }
    data = json.dumps(asked, ensure_ascii=False).replace("<", "\\u003c")
    return markdown_cell(
        f'<div class="prediction" id="predict-{key}">\n\n{COMMENT.sub("", question).strip()}\n\n'
        f'<script type="application/json">{data}</script>\n\n</div>'
    )


def shows(cell) -> bool:
    "Whether a code cell shows an output on its page."
    return bool(cell["outputs"]) and "remove-cell" not in cell["metadata"].get("tags", [])


def split_cell(cell) -> tuple[dict, dict]:
    "A code cell as two: its code, and its outputs."
    metadata = cell["metadata"]
    tags = [tag for tag in metadata.get("tags", []) if tag != "hide-input"]
    return {**cell, "outputs": []}, {**cell, "metadata": {**metadata, "tags": [*tags, "remove-input"]}}


def end_of_text(text: str) -> tuple[str, str]:
    "What of a cell of text belongs to the result above it, and the rest: a heading or a question ends it."
    pieces = blocks(text)
    end = next((n for n, block in enumerate(pieces) if HEADING.match(block) or asks(block)), len(pieces))
    return "\n\n".join(pieces[:end]), "\n\n".join(pieces[end:])


class Covering:
    "Goes through the cells of a page and puts questions and results into boxes."

    def __init__(self, cells):
        self.waiting = [*cells]  # (index in the notebook, cell), still to be looked at
        self.out, self.seen = [], set()

    def run(self):
        while self.waiting:
            i, cell = self.waiting.pop(0)
            if cell["cell_type"] == "markdown" and not cell["metadata"].get("made"):
                self.text(i, cell)
            else:
                self.out.append((i, cell))
        return self.out

    def text(self, i, cell):
        pieces = blocks(cell["source"])
        at = next((n for n, block in enumerate(pieces) if asks(block)), None)
        if at is None:
            self.out.append((i, cell))
            return
        if before := "\n\n".join(pieces[:at]):
            self.out.append((i, {**cell, "source": before}))
        key = key_of(pieces[at], self.seen)
        below = [cell for _, cell in self.waiting[:LONGEST]]
        rest = pieces[at + 1 :]
        if rest and COMMENT.fullmatch(rest[0].strip()):
            pieces[at] += f"\n\n{rest.pop(0)}"
        self.out.append((i, question_cell(pieces[at], key, below)))
        if rest:
            self.waiting.insert(0, (i, {**cell, "source": "\n\n".join(rest)}))
        self.result(i, key)

    def result(self, i, key):
        "Code down to the first output or text stays open; from there to the end of the next text is covered."
        opened = next((n for n, (_, cell) in enumerate(self.waiting[:LONGEST]) if self.begins(cell)), None)
        if opened is None:
            return
        self.out += [self.waiting.pop(0) for _ in range(opened)]
        covered, (j, first) = [], self.waiting.pop(0)
        if first["cell_type"] == "code":
            code, outputs = split_cell(first)
            self.out.append((j, code))
            covered.append((j, outputs))
            covered += self.code_below()
            j, first = self.waiting.pop(0) if self.waiting else (j, markdown_cell(""))
        elif j == i and self.waiting and not re.search(r"^#{1,6} ", first["source"], re.M):  # the answer leads to code
            if below := self.code_below():
                covered += [(j, first), *below]
                j, first = self.waiting.pop(0) if self.waiting else (j, markdown_cell(""))
        text, rest = end_of_text(first["source"])
        if text:
            covered.append((j, {**first, "source": text}))
        if rest:
            self.waiting.insert(0, (j, {**first, "source": rest}))
        if covered:
            opening = markdown_cell(f'<div class="prediction-result" id="result-{key}">')
            self.out += [(i, opening), *covered, (covered[-1][0], markdown_cell("</div>"))]

    def code_below(self):
        "The cells of code that come next, with what was made for them."
        found = []
        while self.waiting:
            cell = self.waiting[0][1]
            if cell["cell_type"] != "code" and not cell["metadata"].get("made"):
                break
            found.append(self.waiting.pop(0))
        return found

    def begins(self, cell) -> bool:
        return shows(cell) if cell["cell_type"] == "code" else not cell["metadata"].get("made")


def cover(cells: list[tuple[int, dict]]) -> list[tuple[int, dict]]:
    "The cells of a page with each prediction and its result in a box."
    return Covering(cells).run()


def setup(app):
    return {"parallel_read_safe": True}
