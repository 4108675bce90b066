"Folds over code: one line that says what is inside, for those who hear the page too."
from html import escape

from myst_nb.sphinx_ext import HideCodeCellNode


def visit(translator, node):
    words = escape(node["prompt_show"])
    translator.body.append(f'<details class="hide {" ".join(node["classes"])}">\n<summary>{words}</summary>\n')


def depart(translator, node):
    translator.body.append("</details>\n")


def setup(app):
    app.add_node(HideCodeCellNode, override=True, html=(visit, depart))  # myst-nb's would say "Toggle hidden content"
    return {"parallel_read_safe": True}
