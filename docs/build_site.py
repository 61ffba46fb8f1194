"""The documentation as a folder of HTML that needs no network: the pages of ``docs/`` and the API from docstrings.

``python docs/build_site.py site`` (``make site``). A link between pages that leads nowhere ends it with its name.
"""

import re
import shutil
import sys
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

DOCS = Path(__file__).parent
REPOSITORY = "headscope"
PAGES = ("concepts", "studies", "study", "lab", "claims", "method", "answers", "traces", "real-model", "extending")
PAGES += ("scale", "paper-figures", "benchmarks", "log")
LINK = re.compile(r'(href|src)="([^"]+)"')
STYLE = """
html { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
nav a { margin-right: 1em } table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { border: 1px solid #8888; padding: .2em .5em; vertical-align: top; text-align: left } img { max-width: 100% }
pre { overflow-x: auto; padding: .6em; border: 1px solid #8888 }
"""


def build(out: Path) -> list[str]:
    """Write the pages into ``out`` and return the links between them that lead nowhere."""
    out.mkdir(parents=True, exist_ok=True)
    menu = "".join(f'<a href="{name}.html">{name}</a>' for name in PAGES) + '<a href="api/headscope.html">API</a>'
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    broken = []
    for name in PAGES:
        source = DOCS / f"{name}.md"
        body = markdown.render(source.read_text(encoding="utf-8"))
        broken += [f"{source.name}: {target}" for target in _targets(body) if not (DOCS / target).exists()]
        body = LINK.sub(lambda link: f'{link[1]}="{_place(link[2])}"', body)
        page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)} – {REPOSITORY}</title>'
        page += f"<style>{STYLE}</style><nav>{menu}</nav><main>{body}</main></html>\n"
        (out / f"{name}.html").write_text(page, encoding="utf-8")
    for picture in (*DOCS.glob("*.svg"), *DOCS.glob("*.png")):
        shutil.copy(picture, out / picture.name)
    (out / "index.html").write_text((out / f"{PAGES[0]}.html").read_text(encoding="utf-8"), encoding="utf-8")
    return broken


def _targets(body: str) -> list[str]:
    """Return the files that a page links to, relative to its folder."""
    links = [link[2].partition("#")[0] for link in LINK.finditer(body)]
    return [link for link in links if link and not link.startswith(("https://", "http://"))]


def _place(target: str) -> str:
    """Return where a link leads in the site; files of the repository that are no page keep their path from it."""
    path, mark, anchor = target.partition("#")
    return f"{path.removesuffix('.md')}.html{mark}{anchor}" if path.removesuffix(".md") in PAGES else target


def main(out: Path) -> int:
    """Build the site; 2 if a link leads nowhere."""
    if broken := build(out):
        print("\n".join(f"a link leads nowhere: {link}" for link in broken), file=sys.stderr)
        return 2
    import pdoc

    pdoc.render.configure(docformat="google", search=False)
    pdoc.pdoc("headscope", output_directory=out / "api")
    print(out / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
