"""The table of training methods and the study file's classes say the same."""

import inspect
from typing import get_args

import pytest

from headscope.studies.study_file.training import CompletionData, RewardData, TeacherData, Training
from headscope.training import TRAINING_METHODS

DATA = {"completions": CompletionData, "teacher": TeacherData, "rewards": RewardData}


def test_a_study_file_can_name_every_method() -> None:
    assert {kind.model_fields["method"].default for kind in get_args(Training)} == set(TRAINING_METHODS)


@pytest.mark.parametrize("name", TRAINING_METHODS)
def test_a_methods_signal_is_in_the_study_and_in_its_arguments(name: str) -> None:
    method = TRAINING_METHODS[name]
    (kind,) = [kind for kind in get_args(Training) if kind.model_fields["method"].default == name]
    assert issubclass(kind, method.config)
    assert issubclass(kind, DATA[method.signal])
    arguments = list(inspect.signature(method.run).parameters)
    signal = [] if method.signal == "completions" else [method.signal]
    assert [argument.removesuffix("_path") for argument in arguments[2 : arguments.index("config")]] == signal
