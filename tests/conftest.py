"""Shared by all tests: shapes and types of the package are checked, threads are few, and real inputs are found or
skipped.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.type_checks import install_checks

# All but lab and cli, which hold strings: checking their millions of small calls would cost minutes and find nothing.
CHECKED = ("circuits", "comparison", "evaluation", "heads", "interventions", "measures", "models", "pairs")
CHECKED += ("progress", "report", "results", "runs", "storage", "studies", "tracking", "training")
install_checks([f"headscope.{area}" for area in CHECKED])

# The same examples on every run, however slow the machine; ``--hypothesis-profile=wide`` looks for new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("wide", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("steady")

# No test cuts the power: that files are synced is tested by itself (tests/test_storage.py), and waiting for the disk at
# every unit took a sixth of the studies' time.
os.fsync = lambda descriptor: None

SHARED = Path(__file__).resolve().parents[2] / "shared"


TORCH_LACKS_BFLOAT16 = "pack_vnni2 is only supported when avx512 is supported"
"""What torch 2.13 raises in bfloat16 attention if ATEN_CPU_CAPABILITY=default is set on a processor with AVX-512."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--ray`` and ``--slow``."""
    parser.addoption("--ray", action="store_true", help="also the tests that begin a Ray cluster")
    parser.addoption("--slow", action="store_true", help="also the tests marked slow")


# What they do is done by others too: Llama, Mistral and OLMo 2 as Qwen2, Gemma 2 as Gemma 3, Phi-3 as GPT-NeoX (one
# product for queries, keys and values), Qwen3-MoE as gpt-oss. Each is proved, read and scored in the files named here.
SLOW_ARCHITECTURES = {"llama", "mistral", "olmo2", "gemma2", "phi3", "qwen3_moe"}
ALL_ARCHITECTURES = ("test_access", "test_validation", "test_architectures", "test_weight_edits")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests unless they are asked for. Groups come first: one that came last would leave a worker idle."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if parameters.get("architecture") in SLOW_ARCHITECTURES and item.path.stem not in ALL_ARCHITECTURES:
            item.add_marker(pytest.mark.slow)
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: make slow, or pytest --slow"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_collection_finish() -> None:
    """Leave what was imported out of all later collections of garbage: they took 6 % of the tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def ray_address(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a Ray cluster of one node, for all tests of the session."""
    if not request.config.getoption("--ray"):
        pytest.skip("beginning a Ray cluster takes ten seconds or more: make ray, or pytest --ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: make ray installs it")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 8, "num_gpus": 0})
    yield cluster.address
    cluster.shutdown()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Skip a test if torch itself cannot compute in bfloat16 under the instructions it was told to use."""
    try:
        return (yield)
    except RuntimeError as error:
        if TORCH_LACKS_BFLOAT16 in str(error):
            pytest.skip(f"torch: {TORCH_LACKS_BFLOAT16}")
        raise


@pytest.hookimpl(trylast=True)  # after the slowest durations
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End with a line per reason for what was skipped, so that nobody takes a test that did not run for one that
    passed."""
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if skipped:
        terminalreporter.section("skipped")
    for reason, count in skipped.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    # A file, a line and "Skipped: why".
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real benchmark problems; the test is skipped where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"real benchmark problems are not on this machine ({folder})")
    return folder


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Any]:
    """Builds a tiny model of an architecture: ``tiny_model("qwen3")``."""
    from tests import tiny_models

    return tiny_models.tiny_model


@pytest.fixture(scope="session")
def ragged_pairs() -> Callable[..., Any]:
    """Builds pairs of different lengths: ``ragged_pairs(seed=0, count=5, positions="last")``."""
    from tests import tiny_models

    return tiny_models.ragged_pairs


@pytest.fixture
def float64() -> Iterator[None]:
    """Everything of the test is computed in float64 (``tests.precision``)."""
    from tests import precision

    with precision.float64():
        yield
