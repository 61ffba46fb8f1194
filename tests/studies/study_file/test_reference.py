"""docs/study.md says what the code reads: every key, with its default and a meaning."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from headscope.studies.study_file.config import models_in
from headscope.studies.study_file.reference import SECTIONS, meaning_of, write_reference
from headscope.studies.study_file.study import Study

PAGE = Path(__file__).parents[3] / "docs" / "study.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == write_reference(), (
        "python -m headscope.studies.study_file.reference > docs/study.md"
    )


@pytest.mark.parametrize("model", SECTIONS)
def test_every_key_has_a_meaning(model: type[BaseModel]) -> None:
    assert [name for name in model.model_fields if not meaning_of(model, name)] == []


def test_every_mapping_of_a_study_has_a_section() -> None:
    reached: set[type[BaseModel]] = set()
    waiting: list[type[BaseModel]] = [Study]
    while waiting:
        model = waiting.pop()
        reached.add(model)
        for field in model.model_fields.values():
            waiting += [inner for inner in models_in(field.annotation) if inner not in reached]
    assert reached == set(SECTIONS)
