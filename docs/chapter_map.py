"The map of the course on its first page: for each chapter its number, what it is about, and how long it takes."
import re

import contents
from api import title_and_line
from checks import text_of

TIME = re.compile(
    r"(?:[Tt]akes:?\**|runs in)\s+((?:about|under|less than|some|a|half|ten|fifteen|twenty|thirty|\d)"
    r"[\w\s]*?(?:seconds?|minutes?|hours?))\b"
)
HEADING = "## The chapters"  # the cell of the first page that the map replaces


def time_of(cells) -> str:
    "How long a chapter takes, in its own words."
    opening = " ".join(text_of(cell) for cell in cells[:4] if cell["cell_type"] == "markdown")
    found = TIME.search(" ".join(opening.split()))
    return found[1] if found else ""


def card(page: str, cells) -> str:
    title, line = title_and_line(cells)
    number, time = contents.number(page), time_of(cells)
    return "\n".join(
        [
            f"::::{{grid-item-card}} {f'{number}. ' if number else ''}{title}",
            f":link: /{page}",
            ":link-type: doc",
            "",
            line,
            *([":::{card-footer}", time, ":::"] if time else []),
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
    return "\n".join(out)
