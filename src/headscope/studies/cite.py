"""References of a study as BibTeX: headscope, the paper it implements, methods, models and data.

Papers stand in ``citations.bib``, which holds nothing that was guessed. A model or data set of the hub without one is a
``@misc`` with its id; what lies on this machine has no entry, and a comment says so.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headscope import __version__
from headscope.evaluation.benchmarks import BENCHMARKS
from headscope.evaluation.table_files import SUFFIXES

PAPER, MIB = "park2025thinkingsparks", "mueller2025mib"
METHODS = {"eap-ig": "hanna2024faith", "eap": "syed2023attribution"}
TRAININGS = {"grpo": "shao2024deepseekmath", "distill": "agarwal2023onpolicy"}
LORA = "hu2021lora"

MODELS = {
    "Qwen/Qwen2.5-Math-": "yang2024qwen25math",
    "Qwen/Qwen3-": "yang2025qwen3",
    "deepseek-ai/DeepSeek-R1": "deepseek2025r1",
    "meta-llama/Llama-3": "grattafiori2024llama3",
    "meta-llama/Meta-Llama-3": "grattafiori2024llama3",
    "HuggingFaceTB/SmolLM2-": "allal2025smollm2",
    "smollm2-135m": "allal2025smollm2",
}
"""By how the id begins."""

DATA = {
    "openai/gsm8k": ("cobbe2021gsm8k",),
    "HuggingFaceH4/MATH-500": ("hendrycks2021math", "lightman2023verify"),
    "Idavidrein/gpqa": ("rein2023gpqa",),
    "mandarjoshi/trivia_qa": ("joshi2017triviaqa",),
}

_ENTRY = re.compile(r"^@\w+\{(?P<key>[^,]+),\n.*?^\}", re.MULTILINE | re.DOTALL)
# Paths are none: ./x, ../x, and what lies in runs/, where headscope writes models whether or not they are there yet.
_HUB_ID = re.compile(r"(?!runs/)\w[\w.-]*/\w[\w.-]*")


def entries() -> dict[str, str]:
    """Return the entries of ``citations.bib`` by their keys."""
    text = Path(__file__).with_name("citations.bib").read_text(encoding="utf-8")
    return {match["key"]: match[0] for match in _ENTRY.finditer(text)}


def cite(study: Mapping[str, Any]) -> str:
    """Return BibTeX for a resolved study's plain data, as the lock holds it; comments say what each entry is for."""
    papers = entries()
    uses: dict[str, list[str]] = {PAPER: ["the paper"]}
    local = []
    for name, what in _citable_names(study):
        for key in _keys(name, what):
            papers.setdefault(key, _hub_entry(key, name, what))
            uses.setdefault(key, []).append(name)
        if not _keys(name, what) and what in ("model", "data"):
            local.append(name)
    blocks = [_headscope()]
    blocks += [f"% {', '.join(dict.fromkeys(names))}\n{papers[key]}" for key, names in uses.items()]
    blocks += [f"% {name} is headscope's own or lies on this machine: no entry" for name in dict.fromkeys(local)]
    return "\n\n".join(blocks) + "\n"


def _citable_names(study: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every name in a study that can be cited, with what it is: method, training, model or data."""
    discover = study.get("discover") or {}
    yield discover.get("method") or "eap-ig", "method"
    yield "CPR and CMD", "measure"
    for model in (study.get("base") or {}, *(study.get("variants") or ())):
        checkpoints = model.get("checkpoints")
        for name in (model.get("model"), checkpoints.get("model") if isinstance(checkpoints, Mapping) else checkpoints):
            if name:
                yield str(name), "model"
        train = model.get("train") or {}
        if train.get("method"):
            yield train["method"], "training"
        if train.get("lora_rank"):
            yield "LoRA", "training"
        if train.get("teacher") and train["teacher"] not in [other["name"] for other in study["variants"]]:
            yield str(train["teacher"]), "model"
        if train.get("dataset"):
            yield _data_name(train["dataset"]), "data"
    ablate = study.get("ablate") or {}
    tasks = [*study.get("tasks", ()), *(discover.get("tasks") or ()), *(ablate.get("tasks") or ()), ablate.get("guard")]
    for task in tasks:
        if task:
            yield _data_name(task), "data"


def _data_name(ref: Any) -> str:
    return str(ref["file"]) if isinstance(ref, Mapping) else str(ref)


def _keys(name: str, what: str) -> tuple[str, ...]:
    """Return the keys of what a name is cited as; none for what has no entry."""
    if what == "measure":
        return (MIB,)
    if what == "method":
        return (METHODS[name],)
    if what == "training":
        return (LORA,) if name == "LoRA" else tuple(filter(None, [TRAININGS.get(name)]))
    hub_id = BENCHMARKS[name].hub if what == "data" and name in BENCHMARKS else name
    if what == "data" and hub_id in DATA:
        return DATA[hub_id]
    if what == "model" and (known := [key for begin, key in MODELS.items() if name.startswith(begin)]):
        return (known[0],)
    is_hub_id = _HUB_ID.fullmatch(hub_id) and not Path(hub_id).exists() and Path(hub_id).suffix not in SUFFIXES
    return (re.sub(r"[^A-Za-z0-9]+", "-", hub_id).lower(),) if is_hub_id else ()


def _hub_entry(key: str, name: str, what: str) -> str:
    hub_id = BENCHMARKS[name].hub if name in BENCHMARKS else name
    kind, path = ("model", hub_id) if what == "model" else ("data set", f"datasets/{hub_id}")
    title = hub_id.replace("_", "\\_")
    return (
        f"@misc{{{key},\n  title = {{{title}}},\n  howpublished = {{{kind.capitalize()} on the Hugging Face hub}},\n"
        f"  url = {{https://huggingface.co/{path}}},\n}}"
    )


def _headscope() -> str:
    return (
        "@software{headscope,\n"
        "  title = {headscope: which attention heads did a training run create, keep or lose, and do they matter?},\n"
        f"  author = {{{{The headscope developers}}}},\n  version = {{{__version__}}},\n}}"
    )
