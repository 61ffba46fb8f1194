"""The documentation as a folder of HTML that needs no network: the pages of ``docs/`` and the API from docstrings.

``python docs/build_site.py site`` (``make docs``). A link between pages that leads nowhere ends it with its name. Files
of the repository outside of ``docs/`` are not in the site: of a link to one, its text is left, the file's path.
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
CARDS = "lab-base-*/card.md"
"""Pages of the lab's base models, which are linked and not in the menu."""

LINK = re.compile(r'(href|src)="([^"]+)"')
OUTSIDE = re.compile(r'<a href="\.\./[^"]*">(.*?)</a>', re.DOTALL)
STYLE = """
html { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
nav a { margin-right: 1em } table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { border: 1px solid #8888; padding: .2em .5em; vertical-align: top; text-align: left } img { max-width: 100% }
pre { overflow-x: auto; padding: .6em; border: 1px solid #8888 }
"""


def build(out: Path) -> list[str]:
    """Write the pages into ``out`` and return the links between them that lead nowhere."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    broken = []
    for source in [*(DOCS / f"{name}.md" for name in PAGES), *sorted(DOCS.glob(CARDS))]:
        body = markdown.render(source.read_text(encoding="utf-8"))
        name = source.relative_to(DOCS).with_suffix("").as_posix()
        broken += [f"{name}.md: {target}" for target in _targets(body) if not (source.parent / target).exists()]
        body = LINK.sub(lambda link: f'{link[1]}="{_place(link[2])}"', OUTSIDE.sub(r"\1", body))
        page = out / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_page(name, body), encoding="utf-8")
    for picture in (*DOCS.glob("*.svg"), *DOCS.glob("*.png")):
        shutil.copy(picture, out / picture.name)
    (out / "index.html").write_text((out / f"{PAGES[0]}.html").read_text(encoding="utf-8"), encoding="utf-8")
    return broken


def _page(name: str, body: str) -> str:
    """Return a page with the menu."""
    top = "../" * name.count("/")
    menu = "".join(f'<a href="{top}{page}.html">{page}</a>' for page in PAGES)
    menu += f'<a href="{top}api/headscope.html">API</a>'
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)} – {REPOSITORY}</title>'
    return f"{head}<style>{STYLE}</style><nav>{menu}</nav><main>{body}</main></html>\n"


def _targets(body: str) -> list[str]:
    """Return the files that a page links to, relative to its folder."""
    links = [link[2].partition("#")[0] for link in LINK.finditer(body)]
    return [link for link in links if link and not link.startswith(("https://", "http://"))]


def _place(target: str) -> str:
    """Return where a link of a page leads in the site."""
    path, mark, anchor = target.partition("#")
    is_page = path.endswith(".md") and not path.startswith(("https://", "http://"))
    return f"{path.removesuffix('.md')}.html{mark}{anchor}" if is_page else target


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
