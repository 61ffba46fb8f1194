"""Named settings: the paper's (arXiv 2509.25758, A.4) and the lab's; comments mark where it is silent."""

# Group-normalised advantage, clip 0.2 and KL weight 0.04 are DeepSeekMath's, which the paper's GRPO refers to.
_PAPER_GRPO: dict[str, object] = {
    "method": "grpo",
    "samples": 16,
    "prompts_per_step": 16,  # silent
    "max_completion_length": 2048,  # silent
    "temperature": 1.0,  # silent
    "beta": 0.04,
    "epsilon": 0.2,
    "warmup": 0.1,
    "schedule": "cosine",  # silent
    "save_every": 100,
    "bf16": True,
}

PRESETS: dict[str, dict[str, object]] = {
    "paper-sft": {
        "method": "sft",
        "learning_rate": 4e-5,
        "epochs": 5,
        "warmup": 0.03,
        "schedule": "cosine",  # silent
        "batch_size": 128,  # silent
        "max_length": 8192,  # silent
        "save_every": 100,
        "bf16": True,
    },
    "paper-grpo-openr1": {**_PAPER_GRPO, "learning_rate": 1e-6, "epochs": 3},
    # The paper's warm-up and samples are given for OpenR1 only; GSM8K gets the same here.
    "paper-grpo-gsm8k": {**_PAPER_GRPO, "learning_rate": 5e-6, "epochs": 1, "max_completion_length": 1024},
    "lab-sft": {
        "method": "sft",
        "learning_rate": 1e-3,
        "max_steps": 80,
        "batch_size": 32,
        "warmup": 0.05,
        "schedule": "linear",
        "max_length": 256,
        "save_every": 8,
    },
    # One model, two modes: traces where the template leaves thinking on, bare answers where it switches it off.
    "lab-hybrid": {
        "method": "sft",
        "hybrid": True,
        "learning_rate": 1e-3,
        "max_steps": 80,
        "batch_size": 32,
        "warmup": 0.05,
        "schedule": "linear",
        "max_length": 256,
        "save_every": 8,
    },
    "lab-distill": {
        "method": "distill",
        "learning_rate": 5e-4,
        "max_steps": 50,
        "batch_size": 64,
        "max_completion_length": 96,
        "beta": 0.0,
        "schedule": "constant",
        "save_every": 5,
    },
    # No KL term and a constant rate, as in the prototype; half its completions per step.
    "lab-grpo": {
        "method": "grpo",
        "learning_rate": 3e-4,
        "max_steps": 50,
        "prompts_per_step": 8,
        "samples": 16,
        "max_completion_length": 96,
        "beta": 0.0,
        "schedule": "constant",
        "save_every": 5,
    },
}
