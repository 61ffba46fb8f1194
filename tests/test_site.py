"""The documentation's site: every page, links that lead somewhere, nothing from a network."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_site", DOCS / "build_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_built_and_its_links_lead_somewhere(site: ModuleType, tmp_path: Path) -> None:
    assert sorted(site.PAGES) == sorted(path.stem for path in DOCS.glob("*.md"))
    assert site.build(tmp_path) == []
    pages = sorted(tmp_path.rglob("*.html"))
    cards = [f"{path.parent.name}/card.html" for path in DOCS.glob("*/card.md")]
    assert {path.relative_to(tmp_path).as_posix() for path in pages} == {
        *(f"{name}.html" for name in (*site.PAGES, "index")),
        *cards,
    }
    lab = (tmp_path / "lab.html").read_text(encoding="utf-8")
    assert len(cards) == 3
    assert all(f'href="{card}"' in lab for card in cards)
    for path in pages:
        page = path.read_text(encoding="utf-8")
        assert re.search(r"<h1>.+</h1>", page) or path.name == "card.html"
        assert not re.search(r'<(?:script|link|img)[^>]*(?:src|href)="https?:', page)
        for target in re.findall(r'(?:href|src)="([^"#]+)', page):
            place = (path.parent / target).resolve()
            of_api = place == (tmp_path / "api" / "headscope.html").resolve()  # which is made by pdoc
            assert target.startswith("https://") or of_api or place.is_file(), (path.name, target)
            assert place.is_relative_to(tmp_path.resolve()) or target.startswith("https://")
    assert "examples/track_heads.py is a whole training" in lab  # no part of the site: its path without a link


def test_a_link_that_leads_nowhere_is_named(
    site: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\n\n[b](b.md#x) [c](gone.md) <script>alert(1)</script>\n")
    (tmp_path / "docs" / "b.md").write_text("# B\n")
    monkeypatch.setattr(site, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(site, "PAGES", ("a", "b"))
    assert site.main(tmp_path / "site") == 2
    assert capsys.readouterr().err == "a link leads nowhere: a.md: gone.md\n"
    page = (tmp_path / "site" / "a.html").read_text(encoding="utf-8")
    assert 'href="b.html#x"' in page
    assert "<script>" not in page
