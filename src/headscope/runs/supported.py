"""The versions of the libraries that headscope reaches into; others are refused before any work."""

from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

from headscope.errors import ManyInputsError

SUPPORTED = {
    # 5.24 writes rotary frequencies in place, which ``models.rotary`` allows for; `make ends` has to run there first.
    "transformers": ">=5.16,<5.23",
    # 1.15 trains only with Triton's kernels, which a CPU lacks; 1.14 has no `eos_token_ids`.
    "trl": ">=1.16,<1.17",
}
"""As pyproject.toml says, which pip goes by; ``make ends`` runs tests at both ends."""


def check_versions() -> None:
    """Raise InputError with one sentence for each library that is absent or of a version outside its range."""
    sentences = []
    for package, supported in SUPPORTED.items():
        try:
            installed = version(package)
        except PackageNotFoundError:
            installed = "absent"
        if installed == "absent" or not SpecifierSet(supported).contains(installed, prereleases=True):
            advice = f"pip install '{package}{supported}'"
            sentences.append(f"{package} is {installed}, and headscope works with {supported}: {advice}")
    if sentences:
        raise ManyInputsError(sentences)
