"""The quiz of a chapter as choices that answer.

In a notebook a question is plain Markdown: a numbered question, options (a), (b), (c), and a folded answer that begins
with the right letter. On the page an option is chosen and checked; `quiz.js` then gives the reason of that option, and
the whole answer only when it was right. Without JavaScript the answer unfolds by hand, as in the notebook.
"""

import hashlib
import re
from html import escape

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ANSWER = re.compile(r"<details><summary>Answer</summary>\s*\n(.*?)\n\s*</details>", re.S)
START = re.compile(r"^\*\*\d+\.", re.M)
OPTION = re.compile(r"(?:^|(?<=\s))(?:[-*] )?\(([a-h])\)\s+")
RIGHT = re.compile(r"\s*\*\*\(?([a-h])\)?\.?\*\*")
REASON = re.compile(
    r"(?:^|(?<=[.!?)*] ))(?:With |For )?\(([a-h])\)(?:(?:,| and| or)* \(([a-h])\))?"
)  # a sentence about options
BREAK = "%%%"  # between question, options and answer inside the directive


def split_options(text: str):
    "The question, and its options by letter: only (a), (b), (c) in this order count."
    options, expected, start = {}, "a", None
    for found in OPTION.finditer(text):
        if found[1] != expected:
            continue
        if start is None:
            question = text[: found.start()]
        else:
            options[chr(ord(expected) - 1)] = text[start : found.start()]
        start, expected = found.end(), chr(ord(expected) + 1)
    if start is None:
        return text.strip(), {}
    options[chr(ord(expected) - 1)] = text[start:]
    return question.strip(), {letter: option.strip() for letter, option in options.items()}


def faults(markdown: str):
    "What is wrong with the questions of a cell: an answer that names none of the options."
    for question, options, right, _ in questions(markdown):
        if options and right not in options:
            yield (
                f"the quiz question '{question[:40]}' has the options {', '.join(options)} and the answer {right}; "
                "begin the answer with the right one, like '**b.**'"
            )


def _pieces(markdown):
    "(text before the question, the question with its options, answer, end) for each question."
    done = 0
    for answer in ANSWER.finditer(markdown):
        before = markdown[done : answer.start()]
        starts = [*START.finditer(before)]
        if starts:
            yield before[: starts[-1].start()], before[starts[-1].start() :], answer[1], answer.end()
            done = answer.end()


def questions(markdown: str):
    "(question, options by letter, right letter, answer) for each question of a cell."
    for _, asked, answer, _ in _pieces(markdown):
        question, options = split_options(asked)
        right = RIGHT.match(answer)
        yield question, options, right[1] if right else None, answer.strip()


def reasons(answer: str, right: str) -> list[tuple[str, str]]:
    "The answer in pieces, each with the letters of the options it speaks of; the first is the right one's."
    text = " ".join(answer.split("\n")) if "\n\n" not in answer else answer
    starts = [*REASON.finditer(text)]
    ends = [*(found.start() for found in starts), len(text)]
    pieces = [(right, text[: ends[0]])]
    pieces += [
        (" ".join(filter(None, found.groups())), text[found.start() : end]) for found, end in zip(starts, ends[1:])
    ]
    return [(letters, piece.strip()) for letters, piece in pieces if piece.strip()]


def as_directives(markdown: str) -> str:
    "The cell with each question that has options written as a `question` directive."
    out, done = [], 0
    for (before, _, _, end), (question, options, right, answer) in zip(_pieces(markdown), questions(markdown)):
        if right in options:
            told = reasons(answer, right)
            body = f"\n{BREAK}\n".join([question, *options.values(), *(piece for _, piece in told)])
            letters = "/".join(letters.replace(" ", "") for letters, _ in told)
            out.append(f"{before}\n``````{{question}} {right} {len(options)} {letters}\n{body}\n``````\n")
        else:
            out.append(markdown[done:end])
        done = end
    return "".join(out) + markdown[done:]


class Question(SphinxDirective):
    "A question with options, one of them right, and a folded answer."

    required_arguments = 3  # the right letter, the number of options, the letters of each reason
    has_content = True

    def parsed(self, lines, offset):
        "The nodes of a piece of Markdown."
        box = nodes.container()
        self.state.nested_parse(StringList(lines, source=""), self.content_offset + offset, box)
        return box.children

    def run(self):
        name, pieces, offsets = f"question-{self.env.new_serialno('question') + 1}", [[]], [0]
        for i, line in enumerate(self.content):
            if line == BREAK:
                pieces.append([])
                offsets.append(i + 1)
            else:
                pieces[-1].append(line)
        right, n, letters = self.arguments
        question, *rest = [self.parsed(piece, offset) for piece, offset in zip(pieces, offsets)]
        options, told = rest[: int(n)], rest[int(n) :]
        key = hashlib.sha1("".join(self.content).encode()).hexdigest()[:8]
        out = [
            raw(
                f'<div class="quiz" role="radiogroup" aria-labelledby="{name}" data-key="{key}" '
                f'data-right="{escape(right)}"><div class="quiz-question" id="{name}">'
            ),
            *question,
            raw("</div>"),
        ]
        for letter, option in zip("abcdefgh", options):
            out += [
                raw(
                    f'<label class="quiz-option"><input type="radio" name="{name}" value="{letter}">'
                    f'<span class="quiz-letter">({letter})</span><div>'
                ),
                *option,
                raw("</div></label>"),
            ]
        out.append(
            raw('<div class="quiz-verdict" role="status"></div><details class="quiz-answer"><summary>Answer</summary>')
        )
        for about, reason in zip(letters.split("/"), told):
            out += [raw(f'<div class="reason" data-for="{" ".join(about)}">'), *reason, raw("</div>")]
        return [*out, raw("</details></div>")]


def raw(html):
    return nodes.raw("", html, format="html")


def setup(app):
    app.add_directive("question", Question)
    for script in ("record.js", "predict.js", "quiz.js", "folds.js"):  # in this order: the first serves the others
        app.add_js_file(script, loading_method="defer")
    return {"parallel_read_safe": True}
