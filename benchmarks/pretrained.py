"""A small pretrained model on this machine, its tokens a second and a step of RLVR: python benchmarks/pretrained.py

SmolLM2-135M on word problems in the profile `smollm2`, or in the one that is named behind; on a GPU where there is one.
RLVD_DATA must name the folder with their files. A step is a third of what three more steps take, so that loading and
saving are not in it.
"""
import sys, tempfile, time

import pandas as pd
import torch

from rlvd_nb.core.workers import environment
from rlvd_nb.experiments.making import ensure_base_model, train_rlvr
from rlvd_nb.experiments.run import Run, begin_run
from rlvd_nb.models.checkpoints import best_device
from rlvd_nb.models.sampling import Request, SamplingParams
from rlvd_nb.models.transformers_sampler import TransformersSampler


def tokens_a_second(run: Run, exact: bool) -> float:
    model, s = ensure_base_model(run), run.settings
    sampler = TransformersSampler(*model.load(exact=exact))
    prompts = model.render([question.prompt for question in run.questions("test")[:8]], s.template)
    params = SamplingParams(s.temperature, max_tokens=s.max_tokens, stop=tuple(s.stop))
    next(sampler.sample([Request(prompts[0], 0, 1)], params))  # what is made once
    start = time.perf_counter()
    batches = sampler.sample([Request(prompt, 0, s.samples) for prompt in prompts], params)
    written = sum(len(each.tokens) for batch in batches for _, completions in batch for each in completions)
    return written / (time.perf_counter() - start)


def seconds(run: Run, steps: int) -> float:
    start = time.perf_counter()
    train_rlvr(run.vary(steps=steps), ensure_base_model(run))
    return time.perf_counter() - start


def main() -> None:
    run = begin_run("03", (sys.argv[1:] or ["smollm2"])[0]).vary(warmup=0)
    with tempfile.TemporaryDirectory() as folder, environment(RLVD_OUT=folder):
        rows = [
            ("tokens a second, float32", tokens_a_second(run, exact=True)),
            ("tokens a second, as it is sampled", tokens_a_second(run, exact=False)),
            (f"seconds a step of {run.settings.step_questions} × {run.settings.group} rollouts",
             (seconds(run, 4) - seconds(run, 1)) / 3),
        ]
    gpu = torch.cuda.get_device_name() if best_device() == "cuda" else ""
    print(gpu or f"{torch.get_num_threads()} threads")
    print(pd.DataFrame(rows, columns=["what", "value"]).round(1).to_string(index=False))


if __name__ == "__main__": main()
