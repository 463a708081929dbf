"""nbs/api/README.md, the map of the library, from the first lines of its notebooks: python tools/write_map.py writes
it."""
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
API = ROOT / "nbs" / "api"
WINGS = {
    "core": "paths, errors, seeds, artifacts that are whole or not there, tables on disk, workers and clusters",
    "tasks": "questions, golds, graders, chains, the lab's worlds, benchmark records, the sandbox",
    "stats": "estimators, comparison, replicates: arrays in, arrays or small tables out",
    "models": "a model on disk as a value, prompts, samplers, scoring, the store of samples, shards",
    "training": "pretraining, supervised fine-tuning, GRPO, on-policy distillation",
    "responses": "graded samples as arrays, surface, novelty, indicators, lessons",
    "experiments": "what is trained from what, and asked what; replicates, and the processes they run in",
    "paper": "figures, sentences, published values, the one judge, the report, the command line",
}


def first_line(notebook: Path) -> str:
    "What the notebook says it is, in a line."
    source = "".join(json.loads(notebook.read_text())["cells"][0]["source"])
    return next(line.removeprefix("> ") for line in source.split("\n") if line.startswith("> "))


def wing(name: str) -> str:
    "A wing's heading, and a line a module."
    lines = [
        f"| [`{name}.{path.stem[3:]}`]({name}/{path.name}) | {first_line(path)} |"
        for path in sorted((API / name).glob("*.ipynb"))
    ]
    return f"## {name}: {WINGS[name]}\n\n" + "\n".join(["| module | what it is |", "|---|---|", *lines])


def text() -> str:
    "The whole page."
    head = (
        "# The library\n\nOne notebook a module, `nbs/api/<wing>/NN_name.ipynb` → `rlvd_nb/<wing>/name.py`. Data flows"
        " from the first wing to the last: a module imports from\nwings above its own, and inside a wing from modules"
        " with a lower number. Sections are in [`nbs/`](..) and call the library.\n\nTo find the code of a figure: its"
        " section names the function that draws it (`paper.figures`), the one that measures (`responses`, `stats`)"
        " and\nthe experiment (`experiments`). A new task, sampler or experiment is one new notebook and nothing else"
        " edited."
    )
    return "\n\n".join([head, *map(wing, WINGS)]) + "\n"


if __name__ == "__main__": (API / "README.md").write_text(text())
