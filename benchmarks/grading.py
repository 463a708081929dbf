"""Grade 128,000 MATH-500 responses with `grade_pairs`, and a sample of them with the plain loop.

    python benchmarks/grading.py [--samples 256] [--loop 512] [--workers 2]

The responses are made up, since no model is at hand: each question's own solution with its box replaced, under a first
line that makes every response a different text. Success counts follow the paper's bins of MATH-500 (figure 2), wrong
answers follow a Zipf law over 40 values a question, and every answer is spelled in one of six ways. The loop is
`verify(parse(gold), parse(response))` on the whole response, on a random sample, extrapolated.
"""
import argparse, json, os, random, re, time
from pathlib import Path

import pandas as pd
from math_verify import parse, verify

from rlvd_nb.tasks.base import load_task
from rlvd_nb.core.workers import processors
from rlvd_nb.tasks.grading import distinct_work, grade_pairs, verdict_counts

BINS = {(0, 0): 14, (1, 4): 18, (5, 16): 34, (17, 64): 69, (65, 128): 78, (129, 256): 287} # right of 256 -> questions
SPELLINGS = (
    lambda a: a, lambda a: a, lambda a: a.replace(r"\frac", r"\dfrac"), lambda a: f" {a} ",
    lambda a: a.replace(" ", ""),
    lambda a: a.replace("(", r"\left(").replace(")", r"\right)") if r"\left" not in a else a,
)
BOX = re.compile(r"\\boxed\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}")

def slip(rng, gold):
    "A gold answer with one digit changed, or a number near by."
    digits = [i for i, letter in enumerate(gold) if letter.isdigit()]
    if not digits: return str(rng.randint(-20, 200))
    at = rng.choice(digits)
    return gold[:at] + str(rng.randint(0, 99)) + gold[at + 1:]

def wrong_answers(rng, golds, gold, count=40):
    "Most are slips, some answer another question."
    return [rng.choice(golds) if rng.random() < .3 else slip(rng, gold) for _ in range(count)]

def response(rng, number, solution, answer):
    "A text that is nobody else's, around a box; one in fifty has no box, one in fifty is cut off in it."
    text, fate = f"Attempt {number}, {rng.random()}.\n" + BOX.sub("", solution), rng.random()
    if fate < .02: return text
    return text + r" The answer is $\boxed{" + rng.choice(SPELLINGS)(answer) + ("" if fate < .04 else "}$.")

def make_pairs(questions, solutions, samples, seed=0):
    "Samples of every question."
    rng = random.Random(seed)
    ranges = [span for span, count in BINS.items() for _ in range(count)]
    rng.shuffle(ranges)
    golds, pairs = [q.gold for q in questions], []
    for question, span in zip(questions, ranges):
        wrong, right = wrong_answers(rng, golds, question.gold), rng.randint(*span) / 256
        weights = [1 / rank ** 1.2 for rank in range(1, len(wrong) + 1)]
        for number in range(samples):
            answer = question.gold if rng.random() < right else rng.choices(wrong, weights)[0]
            pairs.append((question, response(rng, number, solutions[question.id], answer)))
    return pairs

def loop(pairs):
    "The plain loop's verdicts, and its seconds."
    start = time.perf_counter()
    verdicts = [verify(parse(rf"\boxed{{{question.gold}}}"), parse(text)) for question, text in pairs]
    return verdicts, time.perf_counter() - start

def compare(sample, verdicts, grades):
    "Where loop and grader disagree."
    rows = [dict(loop="right" if seen else "wrong", grade_pairs=grade.verdict) for seen, grade in zip(verdicts, grades)]
    table = pd.DataFrame(rows).value_counts().rename("responses").reset_index()
    examples = [
        (q.gold, text[-70:], row)
        for (q, text), row in zip(sample, rows)
        if (row["loop"] == "right") != (row["grade_pairs"] == "right")
    ]
    return table, examples

def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--loop", type=int, default=512)
    parser.add_argument("--workers", type=int, default=processors())
    given = parser.parse_args()
    path = Path(os.environ.get("RLVD_DATA") or Path(__file__).parents[2] / "shared" / "data") / "math500.jsonl"
    if not path.is_file(): parser.exit(2, f"no {path}; set RLVD_DATA to a folder with math500.jsonl\n")
    task, rows = load_task("math500", path=path), [json.loads(line) for line in path.read_text().split("\n") if line]
    pairs = make_pairs(task.all_questions, {row["unique_id"]: row["solution"] for row in rows}, given.samples)
    chosen = random.Random(1).sample(range(len(pairs)), min(given.loop, len(pairs)))
    sample, half = [pairs[i] for i in chosen], len(chosen) // 2
    before, first = loop(sample[:half])  # half before and half after, so that a busy machine is as busy for both
    start = time.perf_counter()
    grades = grade_pairs(task, pairs, workers=given.workers)
    pooled = time.perf_counter() - start
    after, second = loop(sample[half:])
    verdicts, whole = before + after, (first + second) * len(pairs) / len(sample)
    print(f"{len(pairs):,} responses, {len(distinct_work(task, pairs)[0]):,} distinct (question, answer), "
          f"{sum(len(text) for _, text in pairs) / len(pairs):.0f} characters each; {verdict_counts(grades)}")
    print(
        pd.DataFrame([
            dict(
                what=f"loop, 1 process ({len(sample)} responses, extrapolated)", seconds=whole,
                per_response_ms=1e3 * whole / len(pairs), times=1.0,
            ),
            dict(
                what=f"grade_pairs, {given.workers} workers (all)", seconds=pooled,
                per_response_ms=1e3 * pooled / len(pairs), times=whole / pooled,
            ),
        ])
        .round(2)
        .to_string(index=False)
    )
    table, examples = compare(sample, verdicts, [grades[i] for i in chosen])
    print(
        f"\nverdicts on the {len(sample)} responses of the loop; {len(examples)} differ in right or"
        f" not\n{table.to_string(index=False)}"
    )
    print(
        "loop right, grade_pairs unparsed: no closed box, and the loop took a number from somewhere; wrong: another"
        " base, or a decimal that is 0 to six places"
    )
    for example in examples[:8]: print(example)

if __name__ == "__main__": main()
