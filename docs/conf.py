"Sphinx: the notebooks of nbs/ as web pages, with the outputs they store."
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from course import PAPERPETS

project, author, language = "petbreeds", "The petbreeds authors", "en"
extensions = ["myst_nb", "sphinx_design", "sphinx_copybutton", "sphinx_togglebutton"]
root_doc = "index"
exclude_patterns = ["**.ipynb_checkpoints"]
nb_execution_mode = "off"
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3
html_theme = "sphinx_book_theme"
html_title = "petbreeds"
html_static_path = []
suppress_warnings = ["mystnb.unknown_mime_type"]

NBS = Path(__file__).resolve().parent.parent / "nbs"
CONTENTS = [
    ("Data", ["0[1-4]_*"]),
    ("Loss", ["05_*", "06_*"]),
    ("Practice", ["14_*"]),
    ("Appendix: how PaperPets are drawn", ["00_paperpets", *(f"paperpets/{name}" for name in PAPERPETS)]),
    ("Appendix: PaperNet", ["00a_papernet"]),
    ("Appendix: the command line, words", ["20_*", "glossary"]),
]


def toctree(caption, patterns):
    "One part of the table of contents, in MyST."
    pages = [nb.relative_to(NBS).with_suffix("") for p in patterns for nb in sorted(NBS.glob(f"{p}.ipynb"))]
    return f"```{{toctree}}\n:hidden:\n:caption: {caption}\n" + "\n".join(map(str, pages)) + "\n```"


def prepare(app, docname, source):
    "Take nbdev's directives out of the cells; give the first page the table of contents."
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            text = "".join(cell["source"])
            if re.search(r"^#\|\s*(hide|default_exp)\b", text, re.M):
                cell["metadata"]["tags"] = ["remove-cell"]
            if alt := re.search(r"^#\|\s*fig-alt:\s*(.+)$", text, re.M):
                cell["metadata"]["mystnb"] = {"image": {"alt": alt[1]}}
            cell["source"] = re.sub(r"^#\|.*\n?", "", text, flags=re.M)
    if docname == root_doc:
        contents = "\n\n".join(toctree(*part) for part in CONTENTS)
        notebook["cells"].append({"cell_type": "markdown", "id": "contents", "metadata": {}, "source": contents})
    source[0] = json.dumps(notebook)


def setup(app):
    app.connect("source-read", prepare)
