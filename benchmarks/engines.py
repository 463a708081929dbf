"""Tokens per second of vLLM and of the transformers sampler on one checkpoint: python benchmarks/engines.py [FOLDER]
[QUESTIONS] [SAMPLES]

Run it in vLLM's environment (`make bench-vllm`). Without FOLDER a Qwen2 of half a million parameters with random
weights is made: its responses almost never agree, which is the worst case for a sampler that reads agreeing
responses once. Both engines draw the same number of responses to the same prompts, are timed in turns in one
process, and are warm: starting vLLM is timed apart."""
import sys, tempfile, time
from pathlib import Path

import pandas as pd

ROUNDS, LENGTH = 3, 64
PROMPTS = ["Find the value of $x$ such that $2x + {} = 7$.", "Compute $\\frac{{1}}{{{}}} + \\frac{{1}}{{3}}$."]


def tokens(sampler, requests, params) -> int:
    return sum(len(c.tokens) for batch in sampler.sample(requests, params) for _, done in batch for c in done)


def tiny() -> Path:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from tiny_checkpoint import make
    return make(Path(tempfile.mkdtemp()) / "qwen2", width=128, layers=4)


def main(folder: str = "", questions: int = 32, samples: int = 16) -> None:
    import torch
    from rlvd_nb.models.checkpoints import Model, best_device
    from rlvd_nb.models.sampling import Request, SamplingParams
    from rlvd_nb.models.transformers_sampler import TransformersSampler
    from rlvd_nb.models.vllm_sampler import VllmSampler, build, stop_engine
    opened = Model.at(Path(folder) if folder else tiny())
    requests = [Request(PROMPTS[i % 2].format(i), 0, int(samples)) for i in range(int(questions))]
    model, tokenizer = opened.load()
    samplers = {build(): VllmSampler(opened), "transformers": TransformersSampler(model, tokenizer)}
    start = time.perf_counter()
    for sampler in samplers.values(): tokens(sampler, requests, SamplingParams(max_tokens=LENGTH, seed=99))
    warm, rows = time.perf_counter() - start, []
    for seed in range(ROUNDS):
        for name, sampler in samplers.items():
            start = time.perf_counter()
            made = tokens(sampler, requests, SamplingParams(max_tokens=LENGTH, seed=seed))
            rows.append(dict(engine=name, rate=made / (time.perf_counter() - start)))
    stop_engine()
    rate = pd.DataFrame(rows).groupby("engine")["rate"].agg(["min", "median", "max"]).round(0)
    print(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {len(requests)} prompts × {samples}"
        f" samples of up to {LENGTH} tokens, {best_device()}, {torch.get_num_threads()} threads; tokens/s over {ROUNDS}"
        f" rounds (starting and warming both: {warm:.0f} s)"
    )
    print(rate.to_string())
    print(
        "ratio of medians, vLLM to transformers:"
        f" {rate.loc[build(), 'median'] / rate.loc['transformers', 'median']:.2f}"
    )


if __name__ == "__main__": main(*sys.argv[1:])
