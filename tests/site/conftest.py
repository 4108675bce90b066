"One site for all tests of this folder."
import functools
import http.server
import threading

import pytest
from builder import NBS, build

@pytest.fixture(scope="session")
def site(tmp_path_factory):
    "The folder of the built site; named like the repository, as it is where it is published."
    out = tmp_path_factory.mktemp("site") / "petbreeds"
    done = build(NBS, out)
    assert done.returncode == 0, f"the site does not build:\n{done.stderr}"
    return out


@pytest.fixture(scope="session")
def pages(site):
    "All pages, as paths below the site."
    return sorted(
        page.relative_to(site).as_posix() for page in site.rglob("*.html") if not {"_static", "sample"} & {*page.parts}
    )


class QuietServer(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def address(site):
    "The site on this machine, below /petbreeds/ as on GitHub Pages."
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(QuietServer, directory=str(site.parent))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{site.name}"
    server.shutdown()


@pytest.fixture
def page(browser, address):
    "A fresh visitor: nothing stored, on a desktop, by daylight."
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light", base_url=f"{address}/")
    yield context.new_page()
    context.close()
