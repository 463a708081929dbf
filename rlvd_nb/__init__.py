"""Does reinforcement learning teach a model to solve more, or to solve more often what it could? And what does a teacher add?

Wings, in the order in which data flows; each module is a notebook, and nbs/api/README.md is the map:

- core         paths, errors, seeds, artifacts that are whole or not there, tables on disk
- tasks        questions, golds, graders, the lab's worlds, benchmark records, the sandbox
- stats        estimators, comparison, replicates: arrays in, arrays or small tables out
- models       a model on disk as a value, prompts, samplers, scoring, the store of samples
- training     pretraining, supervised fine-tuning, GRPO, on-policy distillation
- responses    graded samples as arrays, surface, novelty, indicators, lessons
- experiments  what is trained from what, and asked what; replicates
- paper        figures, sentences, published values, the judge of claims, the report, the command line

What is needed first can be imported from here, and loads no torch: pass_at_k, compare_counts, load_task, Question, Grade,
open_model, SamplingParams, respond, begin_run, replicates.
"""

import warnings

__version__ = "0.2.0"

# of tqdm.auto, which others import in a kernel; no bar of ours needs widgets
warnings.filterwarnings("ignore", "IProgress not found")

FIRST = {  # name to module; imported when it is asked for
    "pass_at_k": "stats.estimators", "compare_counts": "stats.comparison", "load_task": "tasks.base", "Question": "tasks.base",
    "Grade": "tasks.base", "open_model": "models.checkpoints", "SamplingParams": "models.sampling", "respond": "models.store",
    "begin_run": "experiments.run", "replicates": "experiments.protocol",
}
__all__ = [*FIRST, "__version__"]


def __getattr__(name: str):
    "One of the names above, from its module."
    if name not in FIRST: raise AttributeError(f"module 'rlvd_nb' has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module(f"rlvd_nb.{FIRST[name]}"), name)


def __dir__() -> list[str]: return sorted(__all__)
