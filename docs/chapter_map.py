"The map of the course on its first page: for each chapter its number, what it is about, and how long it takes."

import re

import contents
import predictions
import quiz
from api import title_and_line
from checks import code_of, text_of

TIME = re.compile(
    r"(?:[Tt]akes:?\**|runs in)\s+((?:about|under|less than|some|a|half|ten|fifteen|twenty|thirty|\d)"
    r"[\w\s]*?(?:seconds?|minutes?|hours?))\b"
)
RUNNING = re.compile(r"\b((?:about |under )?(?:a |half a |\w+ )(?:seconds?|minutes?)) to run\b")
READING = (
    re.compile(r"(\d+ minutes|half an hour|an hour) to read"),
    re.compile(r"[Rr]eading it[\w ]*? takes (?:about )?(\d+ minutes|half an hour|an hour)"),
)
WORDS_A_MINUTE, LINES_A_MINUTE = 180, 30  # of prose that explains, and of code
HEADING = "## The chapters"  # the cell of the first page that the map replaces


def time_of(cells) -> str:
    "How long a chapter takes, in its own words."
    opening = " ".join(text_of(cell) for cell in cells[:4] if cell["cell_type"] == "markdown")
    opening = " ".join(opening.split())
    for pattern in READING:
        opening = pattern.sub("", opening)
    found = RUNNING.search(opening) or TIME.search(opening)
    return found[1] if found else ""


def minutes_in(found: str) -> int:
    "Minutes out of the words of a chapter: 'half an hour', '40 minutes'."
    if "hour" in found:
        return 30 if "half" in found else 60
    return int(re.search(r"\d+", found)[0])


def reading_time(cells) -> int:
    "Minutes to read a chapter: what it says of itself, else estimated from its words and its code."
    opening = " ".join(" ".join(text_of(cell) for cell in cells[:4] if cell["cell_type"] == "markdown").split())
    for pattern in READING:
        if found := pattern.search(opening):
            return minutes_in(found[1])
    words = sum(len(text_of(cell).split()) for cell in cells if cell["cell_type"] == "markdown")
    lines = sum(len(code_of(cell).splitlines()) for cell in cells if cell["cell_type"] == "code")
    return max(5, 5 * round((words / WORDS_A_MINUTE + lines / LINES_A_MINUTE) / 5))


def totals(cells) -> str:
    "What a reader can answer in a chapter, as attributes of an element."
    texts = [text_of(cell) for cell in cells if cell["cell_type"] == "markdown"]
    questions = sum(bool(options) for text in texts for _, options, _, _ in quiz.questions(text))
    exercises = sum(
        "hide-input" in cell["metadata"].get("tags", []) and "def check_" in text_of(cell) for cell in cells
    )
    return f'data-predictions="{predictions.count(cells)}" data-questions="{questions}" data-exercises="{exercises}"'


def card(page: str, cells) -> str:
    title, line = title_and_line(cells)
    number, time = contents.number(page), time_of(cells)
    says = f"{reading_time(cells)} min to read" + (f" · {time} to run" if time else "") if page[:1].isdigit() else ""
    record = f'<span class="own-record" data-page="{page}" {totals(cells)}></span>' if page[:1].isdigit() else ""
    return "\n".join(
        [
            f"::::{{grid-item-card}} {f'{number}. ' if number else ''}{title}",
            f":link: /{page}",
            ":link-type: doc",
            "",
            line,
            *([":::{card-footer}", f"{says}{record}", ":::"] if says else []),
            "::::",
        ]
    )


def markdown(notebooks: dict[str, list]) -> str:
    "Cards for all chapters, part by part; `notebooks` holds the cells of each page."
    out = [HEADING, ""]
    for part, pages in contents.PARTS.items():
        cards = [card(page, notebooks[page]) for page in pages if page in notebooks]
        if cards:
            out += [
                f"### {part}",
                "",
                ":::::{grid} 1 2 2 2",
                ":gutter: 3",
                ":class-container: chapter-map",
                "",
                *cards,
                ":::::",
                "",
            ]
    return "\n".join([*out, '<p class="record-summary" hidden></p>', ""])
