"""What lies beside the pages: MathJax comes from the package sphinx-mathjax-offline, so that no page asks the network;
what the theme brings and no page needs goes, because a page should be light."""
import shutil
from importlib.metadata import files
from pathlib import Path

PACKAGE = "sphinx-mathjax-offline"
PARTS = ["startup.js", "core.js", "input/tex.js", "output/chtml.js", "a11y/assistive-mml.js"]  # two thirds of the whole
FOLDERS = ["output/chtml/fonts/", "input/tex/extensions/"]
UNUSED = ["scripts/fontawesome.js"]  # 1.5 MB for icons of one's own; the theme's icons come from its fonts


def settle(app, error):
    "Put MathJax there and take out what is not needed, once the pages are written."
    if error or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    for file in files(PACKAGE):
        name = file.as_posix().partition("static/mathjax/")[2]
        if name in PARTS or name.startswith(tuple(FOLDERS)):
            there = static / "mathjax" / name
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), there)
    for name in UNUSED:
        (static / name).write_text("// not needed, see docs/static_files.py\n")
    for source_map in static.rglob("*.map"):
        source_map.unlink()


def setup(app):
    app.connect("build-finished", settle)
    return {"parallel_read_safe": True}
