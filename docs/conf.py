"Sphinx: the notebooks of nbs/ as web pages, with the outputs they store. docs/README.md says how it works."
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
import api
import publishing

_settings = publishing.read_settings(ROOT)

project, author, version, language = _settings["lib_name"], _settings["author"], _settings["version"], "en"
project_copyright = f"{_settings['copyright']}. Code and text under Apache-2.0"
root_doc = "index"
exclude_patterns = ["**.ipynb_checkpoints"]
extensions = ["myst_nb", "sphinx_design", "sphinx_copybutton", "sphinx.ext.linkcode",
              "api", "floors", "folds", "notebook_source", "numbering", "publishing", "quiz", "navigation",
              "finding", "landing", "plain_text", "static_files"]

nb_execution_mode = "off"
nb_render_markdown_format = "myst"
suppress_warnings = ["mystnb.unknown_mime_type", "toc.not_included"]  # the second: docs/contents.py says it better
myst_enable_extensions = ["alert", "amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
add_module_names = False
toc_object_entries = False
mathjax_path = "mathjax/startup.js"
mathjax3_config = {"loader": {"load": ["input/tex", "output/chtml", "a11y/assistive-mml"]}}

copybutton_selector = "div.highlight pre"
copybutton_exclude = ".linenos, .gp"

html_title = project
html_favicon = "_static/icon.svg"
html_logo = "_static/icon.svg"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css", "predict.css", "search.css", ("print.css", {"priority": 900})]
html_additional_pages = {"search": "search.html", "404": "404.html"}
html_theme = "sphinx_book_theme"
html_context = {"default_mode": "auto"}
html_theme_options = {
    **publishing.theme_links(_settings),
    "use_download_button": True,
    "article_header_end": ["code-switch", "article-header-buttons"],
    "logo": {"text": project},
    "navbar_persistent": [],
    "home_page_in_toc": False,
    "show_toc_level": 2,
    "show_navbar_depth": 1,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def linkcode_resolve(domain, info):
    "The address of an exported name in the repository."
    if not publishing.has_address(_settings):
        return None
    place = api.source_line(ROOT, f"{info['module']}.{info['fullname']}")
    return f"{_settings['git_url']}/blob/{_settings['branch']}/{place[0]}#L{place[1]}" if place else None
