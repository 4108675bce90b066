"""The engine room: a page for each folder of rooms, written before Sphinx reads its sources. It lists the rooms with
what each does, and puts them under it in the sidebar."""
import json
from pathlib import Path

import contents
import course
from api import title_and_line, write_files

GROUND = (
    "Ground floor",
    "What every chapter and every other room may use: files, pictures, intervals, figures, networks, "
    "checkpoints and experiments.",
)


def opening(nbs: Path, page: str) -> tuple[str, str]:
    "The title of a notebook and the line below it; its name where there is no such notebook."
    file = nbs / f"{page}.ipynb"
    return title_and_line(json.loads(file.read_text(encoding="utf-8"))["cells"]) if file.exists() else (page, "")


def heading(nbs: Path, folder: str) -> tuple[str, str]:
    "The title of a floor and what stands under it."
    face = contents.face_of(folder)
    if folder == "ground":
        return GROUND
    if not face:
        return folder.capitalize(), "Rooms that a chapter to come will use."
    title, _ = opening(nbs, face)
    return (
        f"Below {contents.number(face)}. {title}",
        f"The chapter [{contents.number(face)}. {title}](../{face}.ipynb) teaches the idea; the machinery it needs "
        f"stands here.",
    )


def floor_page(nbs: Path, folder: str) -> str:
    "The page of a folder of rooms."
    title, line = heading(nbs, folder)
    rows = []
    for room in contents.rooms_of(folder):
        name, what = opening(nbs, room)
        rows.append(f"| [{name}](../{room}.ipynb) | `petbreeds.{course.module_of(room)}` | {what} |")
    return "\n".join([f"# {title}", "", line, "", "| room | module | what it does |", "|---|---|---|", *rows, "",
                      contents.toctrees(f"{contents.FLOORS}/{folder}"), ""])


def prepare(app):
    nbs = Path(app.srcdir)
    write_files({f"{folder}.md": floor_page(nbs, folder) for folder in contents.FOLDERS}, nbs / contents.FLOORS)


def setup(app):
    app.connect("builder-inited", prepare)
    return {"parallel_read_safe": True}
