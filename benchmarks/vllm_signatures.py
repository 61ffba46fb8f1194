"""Compare the tests' stand-in for vLLM with the source of a release: names and defaults of what headscope passes.

    python benchmarks/vllm_signatures.py vllm-0.31.0.tar.gz       # the source distribution on PyPI, 43 MB

Nothing of vLLM is imported. Ends with 1 and a line per difference.
"""

import ast
import sys
import tarfile
from pathlib import Path

from headscope.evaluation.vllm_settings import RANKS

STAND_IN = Path(__file__).parents[1] / "tests" / "evaluation" / "vllm_stand_in.py"
ENGINE_ARGUMENTS = ("enable_prefix_caching", "enable_lora", "max_lora_rank")
SAMPLING = [
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop_token_ids",
    "logit_bias",
    "skip_special_tokens",
    "detokenize",
    "_bad_words_token_ids",
]


def defaults(function: ast.FunctionDef) -> dict[str, str]:
    """Return the arguments of a function with their defaults as source; "" for one that is needed."""
    arguments = function.args
    positional = arguments.args[1:]
    needed = [""] * (len(positional) - len(arguments.defaults))
    written = [ast.unparse(default) for default in arguments.defaults]
    named = [("" if default is None else ast.unparse(default)) for default in arguments.kw_defaults]
    names = [argument.arg for argument in [*positional, *arguments.kwonlyargs]]
    return dict(zip(names, [*needed, *written, *named], strict=True))


def class_of(tree: ast.Module, name: str) -> ast.ClassDef:
    """Return a class by its name."""
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def method(tree: ast.Module, owner: str, name: str) -> dict[str, str]:
    """Return the arguments of a method."""
    functions = [node for node in class_of(tree, owner).body if isinstance(node, ast.FunctionDef)]
    return defaults(next(function for function in functions if function.name == name))


def fields(tree: ast.Module, owner: str) -> list[str]:
    """Return the annotated fields of a class, in order."""
    body = class_of(tree, owner).body
    return [node.target.id for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]


def main(archive: str) -> int:
    """Print every difference; return 1 if there is one."""
    with tarfile.open(archive) as files:
        root = files.getnames()[0].partition("/")[0]

        def parse(name: str) -> ast.Module:
            return ast.parse(files.extractfile(f"{root}/vllm/{name}").read())

        llm, sampling, lora = parse("entrypoints/llm.py"), parse("sampling_params.py"), parse("lora/request.py")
        engine, config = parse("engine/arg_utils.py"), parse("config/lora.py")
    stand_in = ast.parse(STAND_IN.read_text())
    differences = []
    for name in ("__init__", "generate"):
        theirs = method(llm, "LLM", name)
        for argument, default in method(stand_in, "LLM", name).items():
            if argument not in theirs or (argument != "model" and theirs[argument] != default):
                differences.append(f"LLM.{name} {argument}={default}: vLLM has {theirs.get(argument, 'none')}")
    for owner, tree, names in (
        ("EngineArgs", engine, ENGINE_ARGUMENTS),
        ("SamplingParams", sampling, SAMPLING),
        ("LoRARequest", lora, fields(stand_in, "LoRARequest")),
    ):
        differences += [f"{owner} has no {name}" for name in names if name not in fields(tree, owner)]
    ranks = next(
        ast.unparse(node.value)
        for node in config.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MaxLoRARanks"
    )
    if ranks != f"Literal[{', '.join(map(str, RANKS))}]":
        differences.append(f"max_lora_rank is {ranks} and not one of {RANKS}")
    print("\n".join(differences) or f"{root}: the stand-in has the names and defaults of its source")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
