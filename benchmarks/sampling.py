"""Tokens per second of the sampler and of `model.generate` on the lab's base model: python benchmarks/sampling.py
[QUESTIONS] [SAMPLES]

Both draw the same number of responses to the same test questions, in batches of about the same number of responses,
and are timed in turns in one process. Only tokens of responses are counted, no padding. `generate` is given what
helps it: prompts of one length in a batch, so no padding on the left, and its key-value cache."""
import sys, time
from itertools import groupby

import pandas as pd
import torch

from rlvd_nb.models.sampling import Request, SamplingParams
from rlvd_nb.models.transformers_sampler import TransformersSampler
from rlvd_nb.experiments.making import ensure_base_model
from rlvd_nb.experiments.run import begin_run

ROUNDS, BATCH = 3, 4096


def ours(sampler, prompts, samples, params) -> int:
    requests = [Request(prompt, 0, samples) for prompt in prompts]
    return sum(len(c.tokens) for batch in sampler.sample(requests, params) for _, done in batch for c in done)


@torch.inference_mode()
def generate(model, tokenizer, prompts, samples, params) -> int:
    total, ids = 0, sorted((tokenizer(prompt).input_ids for prompt in prompts), key=len)
    for _, group in groupby(ids, key=len):
        group = list(group)
        step = max(1, BATCH // samples)
        for i in range(0, len(group), step):
            batch = torch.tensor(group[i:i + step])
            out = model.generate(
                batch, attention_mask=torch.ones_like(batch), do_sample=True, top_k=0, num_return_sequences=samples,
                max_new_tokens=params.max_tokens, pad_token_id=tokenizer.pad_token_id,
            )[:, batch.shape[1] :]
            total += int((out != tokenizer.pad_token_id).sum())
    return total


def main(questions: int = 200, samples: int = 256) -> None:
    run = begin_run("03", profile="lab")
    base = ensure_base_model(run)
    model, tokenizer = base.load("cpu")
    sampler, rows = TransformersSampler(model, tokenizer), []
    prompts = [q.prompt for q in run.questions("test")[:questions]]
    for i in range(ROUNDS):
        params = SamplingParams(max_tokens=run.settings.max_tokens, seed=i)
        for name, work in (
            ("rlvd_nb", lambda: ours(sampler, prompts, samples, params)),
            ("model.generate", lambda: generate(model, tokenizer, prompts, samples, params)),
        ):
            start = time.perf_counter()
            tokens = work()
            rows.append(dict(round=i, sampler=name, tokens=tokens, seconds=time.perf_counter() - start))
    table = pd.DataFrame(rows).assign(rate=lambda t: t["tokens"] / t["seconds"])
    rate = table.groupby("sampler")["rate"].agg(["min", "median", "max"]).round(0)
    print(
        f"{len(prompts)} questions × {samples} samples, {torch.get_num_threads()} threads, tokens/s over {ROUNDS}"
        " rounds"
    )
    print(rate.to_string())
    print(f"ratio of medians: {rate.loc['rlvd_nb', 'median'] / rate.loc['model.generate', 'median']:.1f}")


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
