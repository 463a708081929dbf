"""RESULTS.md and the README's findings, from the tables in figures/: python tools/results.py writes both."""
import json
from pathlib import Path

import pandas as pd

from rlvd_nb.core.profiles import settings
from rlvd_nb.experiments.frontier import rate_name
from rlvd_nb.experiments.sharpening import LOOKS_AGAIN, falls_short

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "figures"
ENDS = "value", "low", "high"
BEGIN, END = "<!-- findings, written by tools/results.py -->", "<!-- end of findings -->"


def read(name: str) -> pd.DataFrame: return pd.read_csv(FIGURES / f"{name}.csv")


def share(row) -> str: return f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def points(value: float, low: float, high: float) -> str:
    "A change with its interval; too few questions or seeds have none."
    interval = f"[{low:+.1f}, {high:+.1f}]" if low == low else "(no interval)"
    return f"{value:+.1f} {interval}".replace("-", "−")


def change(row, scale: float = 1, column: str = "change") -> str:
    return points(*(scale * row[name] for name in (column, "low", "high")))


def p_value(p: float) -> str: return "< 0.001" if p < .001 else f"{p:.2g}"


def table(rows: list[dict]) -> str:
    "A Markdown table, numbers as they are."
    names = list(rows[0])
    body = ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(names) + " |", "|---" * len(names) + "|", *body])


def rlvr() -> str:
    "Accuracy and capability before and after RLVR, test questions."
    values = read("rlvr_summary").query("split == 'test'").set_index(["measure", "model"])
    moved = read("rlvr_differences").query("split == 'test'")
    return table([{
        "test questions, %": row["measure"], "base": share(values.loc[(row["measure"], "base")]),
        "RLVR": share(values.loc[(row["measure"], "RLVR")]),
        "difference (points)": change(row, 100, "difference"), "p after Holm": p_value(row["p_holm"]),
    } for _, row in moved.iterrows()])


def computed() -> str:
    "Exact capability before and after RLVR, without lucky guesses."
    return table([{
        "computed, %": row["measure"], "base": f"{row['before']:.1f}", "RLVR": f"{row['after']:.1f}",
        "difference (points)": change(row),
    } for _, row in read("rlvr_exact").iterrows()])


def hardest() -> str:
    "What became of the hardest questions that the base model could solve, beside chance."
    moves = read("rlvr_moves").query("questions > 0").set_index(["model", "bin"])
    second = moves.xs("RLVR").index[1]
    rl, again = moves.loc[("RLVR", second)], moves.loc[("base, second draw", second)]
    return (
        f"Of the {rl['questions']:.0f} hardest questions that the base model could solve (bin {second}, first training"
        f" seed), {rl['down']:.0f} fell to none after RLVR where {rl['down_null']:.1f} would have if nothing had"
        f" changed (a second draw of the unchanged base model: {again['down']:.0f}), and {rl['up']:.0f} rose where"
        f" {rl['up_null']:.1f} would have (second draw: {again['up']:.0f})."
    )


def arms() -> str:
    "What each way of training does to accuracy and capability."
    moved = read("distillation_differences")
    capability = next(name for name in moved["measure"] if name.startswith("pass@"))
    cell, exact = moved.set_index(["arm", "measure"]), read("distillation_exact").set_index(["arm", "measure"])
    return table([{
        f"{moved['seeds'].iloc[0]} training seeds, points": arm,
        **{measure: change(cell.loc[(arm, measure)], 100, "difference") for measure in ("accuracy", capability)},
        **{f"exact {name}": change(exact.loc[(arm, name)]) for name in ("pass@256, answerable", "pass@256, all")},
    } for arm in dict.fromkeys(moved["arm"])])


def doses() -> str:
    "What distillation does to capability without new knowledge, and what stating all missing facts adds, by pattern."
    found = read("knowledge_confirmatory")
    named = {"dose 0 against base": "no new knowledge", "slope in dose": "all missing facts add"}
    found[["pattern", "effect"]] = found["effect"].str.split(": ", expand=True)
    cell = found.set_index(["pattern", "measure", "effect"])
    return table([{"points": pattern} | {
        f"{measure}, {named[effect]}": f"{change(cell.loc[(pattern, measure, effect)])}"
                                       f" {cell.loc[(pattern, measure, effect)]['direction']}"
        for measure in dict.fromkeys(found["measure"]) for effect in named
    } for pattern in dict.fromkeys(found["pattern"])])


def worlds() -> str:
    "The central patterns in each world."
    path = FIGURES / "full" / "knowledge_worlds.csv"
    found = pd.read_csv(path)
    capability = next(name for name in found["measure"] if name.startswith("pass@"))
    cell = found[found["measure"] == capability].set_index(["world", "pattern", "effect"])
    return table([{f"{capability}, points": f"world {world}"} | {
        f"{pattern}: {effect}": change(cell.loc[(world, pattern, effect)])
        for pattern in dict.fromkeys(found["pattern"]) for effect in dict.fromkeys(found["effect"])
    } for world in dict.fromkeys(found["world"])])


def indicators() -> str:
    "How well each indicator orders response sets."
    found = read("quality_ranking").dropna(subset=["tau"])
    tau = lambda row: f"{row['tau']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]".replace("-", "−")
    cell = found.set_index(["indicator", "gain"])
    gains = list(dict.fromkeys(found["gain"]))
    return table([{"Kendall's τ with the gain of": name} | {gain: tau(cell.loc[(name, gain)]) for gain in gains}
                  for name in dict.fromkeys(found["indicator"]) if all((name, gain) in cell.index for gain in gains)])


def ledger(name: str = "claims") -> str:
    "Every claim of a table with its verdict."
    found = read(name)
    unit = lambda row: (
        f"{points(row['value'], row['low'], row['high'])} {row['unit']}" if row["value"] == row["value"] else ""
    )
    said = found["real models"].fillna("") if "real models" in found else None
    real = lambda row: {} if said is None else {"real models": said[row.name]}
    return table([{"claim": f"{row['id']} {row['claim']}", "effect": unit(row),
                   "p after Holm": p_value(row["p_holm"]) if row["p_holm"] == row["p_holm"] else "",
                   "verdict": row["verdict"]} | real(row) for _, row in found.iterrows()])


def record_arms() -> str:
    "What each arm of the record does to accuracy and exact capability, over worlds."
    moved = read("record_changes")
    cell = moved.set_index(["arm", "measure"])
    shown = {"accuracy": "accuracy", "pass@256": "pass@256, answerable", "hard: pass@256": "pass@256, hard",
             "all: pass@256": "pass@256, all"}
    return table([{
        f"{moved['replicates'].max()} worlds, points": arm,
        **{name: change(cell.loc[(arm, measure)], 100, "value") for measure, name in shown.items()},
    } for arm in dict.fromkeys(moved["arm"])])


def record_ledger() -> str:
    "The claims by exact capability, with their verdicts."
    return ledger("record_claims")


def one_thing_changed() -> str:
    "What RLVR does in the same worlds with one thing changed."
    moved = read("record_turned").set_index(["changed", "measure"])
    shown = {"accuracy": "accuracy", "pass@256": "pass@256, answerable", "hard: pass@256": "pass@256, hard"}
    return table([{f"RLVR, {moved['replicates'].max()} worlds, points": name} | {
        said: change(moved.loc[(name, measure)], 100, "value") for measure, said in shown.items()
    } for name in dict.fromkeys(moved.index.get_level_values("changed"))])


def sharpening() -> str:
    "RLVR beside the base model sharpened without training, computed."
    found = read("record_sharpening")
    cell, ways = found.set_index(["arm", "measure"]), dict.fromkeys(found["arm"])
    less = lambda row: points(*(100 * row[f"less_{end}"] for end in ENDS))
    def told(arm: str, measure: str) -> str:
        row = cell.loc[(arm, measure)]
        if row["p_holm"] != row["p_holm"]: return f"{100 * row['value']:.1f}"
        return f"{100 * row['value']:.1f}; less RLVR {less(row)}, p {p_value(row['p_holm'])}"
    shown = {"accuracy": "accuracy", "hard: pass@256": "pass@256, hard", "pass@256": "pass@256, answerable"}
    first = f"{found['replicates'].max()} worlds, %"
    return table([{first: arm} | {said: told(arm, measure) for measure, said in shown.items()} for arm in ways])


def sharing_ledger() -> str:
    "Paper B's claims where domains share the operator's words and where they do not, with their verdicts."
    return ledger("operator_claims")


def models() -> str:
    "The lab's worlds beside real models: accuracy, capability, and who falls against chance."
    went = lambda row, name: f"{row[f'{name}_before']:.1f} → {row[f'{name}_after']:.1f}"
    return table([{
        "model": f"{row['before']}, {row['after']}", "accuracy, %": went(row, "accuracy"),
        "pass@n, %": f"{went(row, 'capability')} (n = {row['samples']})",
        "solved a few times before, never after":
            f"{row['fell']:g} of {row['hardest']:g}, {row['expected']:.1f} by chance",
        "p": p_value(row["p"]),
    } for _, row in read("real_side_by_side").iterrows()])


def lucky() -> str:
    "What guessing would solve where the small real model solves hardly anything."
    row = read("real_gsm8k_guesses").iloc[0]
    return (f"What SmolLM2-135M solves of GSM8K can be luck: {row['solved']:.0f} % of the questions within"
            f" {row['samples']} samples, where guessing from its answers to other questions would solve"
            f" {row['guessed']:.0f} %.")


def worlds_of(name: str, file: str = "record_changes") -> str:
    "The worlds that an experiment of the record has measured, as the record of a table says."
    inputs = json.loads((FIGURES / f"{file}.json").read_text())["inputs"]
    numbers = [int(each) for each in inputs["record"][name].removeprefix("replicates ").split(", ")[:-1]]
    spans = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1: spans[-1].append(number)
        else: spans.append([number])
    runs = [f"{span[0]} to {span[-1]}" if len(span) > 2 else ", ".join(map(str, span)) for span in spans]
    return f"worlds {', '.join(runs)}"


def change_of(arm: str, measure: str, name: str = "record_changes") -> str:
    "What an arm moves a measure by, in points, over worlds."
    found = read(name)
    if "step" in found: found = found[found["step"] == found["step"].max()]
    return change(found.set_index(["arm", "measure"]).loc[(arm, measure)], 100, "value")


def effect(claim: str, name: str) -> str:
    "The effect by which a claim of the record is judged."
    return points(*read(name).set_index("id").loc[claim, list(ENDS)])


def judged(claim: str, name: str) -> str:
    "What became of a claim."
    row = read(name).set_index("id").loc[claim]
    return f"p {p_value(row['p'])}, {row['verdict']}"


def chosen_rate() -> str:
    "The learning rate that training reward chose for the record."
    return rate_name(settings("05", "record").learning_rate).removeprefix("RLVR at ")


def rates() -> list[str]:
    "The arms of the frontier."
    return list(dict.fromkeys(read("record_frontier").query("step > 0")["arm"]))


SECTION_11, SECTION_13 = "[section 11](nbs/11_record.ipynb)", "[section 13](nbs/13_shared_reasoning.ipynb)"
KNOWLEDGE, REASONING = "new knowledge at 4e-4", "reasoning only at 4e-4"


def about_rlvr() -> str:
    "What RLVR does to accuracy and capability."
    lowest, along = rates()[0], "record_frontier"
    return (
        f"**RLVR raises accuracy by {change_of('RLVR', 'accuracy')} points and moves exact pass@256 on answerable"
        f" questions by {change_of('RLVR', 'pass@256')}**, at the learning rate that training reward chooses"
        f" ({chosen_rate()}; {worlds_of('record')}; {SECTION_11}). Hard questions gain"
        f" ({change_of('RLVR', 'hard: pass@256')}), the others lose"
        f" ({change_of('RLVR', 'answerable, not hard: pass@256')}). At {lowest.removeprefix('RLVR at ')} accuracy and"
        f" pass@256 move by {change_of(lowest, 'accuracy', along)} and {change_of(lowest, 'pass@256', along)}"
        f" ({worlds_of('frontier')})."
    )


def about_teaching() -> str:
    "What a teacher adds."
    return (
        "**Students of a teacher that states facts which the base model lacks gain"
        f" {effect('A.0', 'record_claims')} points more pass@256 over all questions than RLVR** (learning rates 4e-4"
        f" and {chosen_rate()}; our primary claim about paper A, {judged('A.0', 'record_claims')}). On answerable"
        f" questions they gain {change_of(KNOWLEDGE, 'pass@256')}, students of the base model's own right responses"
        f" {change_of('base ← base', 'pass@256')}. Against paper A, students of reasoning alone gain, too, over all"
        f" questions: {change_of(REASONING, 'all: pass@256')}."
    )


def about_warming_up() -> str:
    "What a warm-up carries over."
    name = "operator_claims"
    return (
        "**A warm-up on puzzles carries over what domains share: its gain in accuracy beyond a placebo's rises by"
        f" {effect('B.0', name)} points from no shared word to all of them**, on average over three target domains"
        f" (our primary claim about paper B's mechanism, {judged('B.0', name)}; {worlds_of('operator', name)};"
        f" {SECTION_13}). Where nothing is shared the two differ by {effect('B.1p, s = 0', name)}. That every domain is"
        f" lifted, as paper B has it: {effect('B.1, s = 1', name)} in the one that gains least"
        f" ({judged('B.1, s = 1', name)})."
    )


def findings() -> str:
    "Three findings in plain sentences, each with its number, and the lab beside real models, for the README."
    lines = [f"{i}. {say()}" for i, say in enumerate((about_rlvr, about_teaching, about_warming_up), 1)]
    more = (
        "How RLVR compares with sharpening, what becomes of hard questions, and which habits it spreads, is said with"
        " all numbers in [RESULTS.md](RESULTS.md#what-else-was-found)."
    )
    beside = "The lab beside real models, as they were sampled ([section 10](nbs/10_real_models.ipynb)):"
    return "\n".join([BEGIN, *lines, "", more, "", beside, "", models(), "", lucky(), END])


def by_difficulty() -> str:
    "Hard and other questions under RLVR."
    return (
        "**In pass@256 hard questions gain and the others lose**, although a single try at the less difficult ones"
        f" gains {effect('A4.5', 'record_claims')} points. Where the base model gives a valid response less than once"
        f" in 256 tries, RLVR moves pass@256 by {change_of('RLVR', 'hard: pass@256')} points, on the other answerable"
        f" questions by {change_of('RLVR', 'answerable, not hard: pass@256')}. What is gained on hard ones may hang"
        f" on how this world was built ({SECTION_11})."
    )


def beside_sharpening() -> str:
    "RLVR against the base model sharpened without training."
    sharp, both = read("record_sharpening"), read("record_sharpening_both")
    least = lambda table: -100 * table.query("measure == 'accuracy' and p_holm == p_holm")["less_value"].max()
    again = sharp.set_index(["arm", "measure"]).loc[f"base, begun with {LOOKS_AGAIN}"]
    less = lambda measure: points(*(100 * again.loc[measure, f"less_{end}"] for end in ENDS))
    return (
        f"**RLVR's accuracy is more than sharpening gives.** {len(falls_short(sharp))} ways to sharpen the base model"
        " without training (lower temperatures, powers of each response's probability, beginnings in each pattern of"
        f" the text) are {least(sharp):.1f} points less accurate or more, {len(falls_short(both))} that were added"
        f" later {least(both):.1f} or more. On hard questions it may be no more: made to look again at its first step,"
        f" the base model is {less('hard: pass@256')} points from RLVR in their pass@256, and {less('accuracy')} in"
        " accuracy (computed, without right answers at the end of a wrong chain)."
    )


def by_rate() -> str:
    "RLVR at every learning rate."
    along = read("record_frontier")
    each = "; ".join(
        f"{arm.removeprefix('RLVR at ')}: {change_of(arm, 'accuracy', 'record_frontier')} and"
        f" {change_of(arm, 'pass@256', 'record_frontier')}" for arm in rates()
    )
    return (
        f"**At lower learning rates pass@256 rises, at the highest it may fall.** After {along['step'].max()} steps, by"
        f" learning rate, accuracy and pass@256 have moved by {each} points ({worlds_of('frontier')}; differences"
        " between rates are not tested)."
    )


def by_students() -> str:
    "What students of a teacher gain, beside RLVR."
    return (
        f"**New knowledge less RLVR.** The students move exact pass@256 on all questions by"
        f" {change_of(KNOWLEDGE, 'all: pass@256')} points (new knowledge) and {change_of(REASONING, 'all: pass@256')}"
        f" (reasoning only), RLVR by {change_of('RLVR', 'all: pass@256')}. On the answerable questions alone new"
        f" knowledge adds no more ({change_of(KNOWLEDGE, 'pass@256')}) than reasoning only"
        f" ({change_of(REASONING, 'pass@256')}) or the base model's own right responses"
        f" ({change_of('base ← base', 'pass@256')})."
    )


def habits() -> str:
    "Where RLVR spreads reflection words."
    spoken = read("record_reflection").set_index(["changed", "measure"])
    habit = lambda changed: spoken.loc[(changed, "RLVR less base, longer paths")]
    words = lambda row: f"{row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]".replace("-", "−")
    return (
        "**RLVR spreads a habit that often mends errors, and does not bring it where it never was.** To a response to"
        f" a path of three hops and more it adds {words(habit('as recorded'))} reflection words; in the same"
        f" worlds, where the text has a second look only at shorter paths, {words(habit('verify-to-2'))} (p of the"
        f" difference {p_value(habit('verify-to-2')['less_p'])}, {worlds_of('verify-to-2', 'record_reflection')};"
        f" {SECTION_11})."
    )


def after_the_warm_up() -> str:
    "What the shared step and RLVR on few examples do."
    of = lambda claim: effect(claim, "operator_claims")
    return (
        "**The habit carries over even where it is of no use.** In worlds where a check tells nothing, the warmed"
        f" model checks more often than the placebo's ({of('F.1')} points), and its accuracy differs by {of('F.2')}."
        f" With all words shared it leads the base model by {of('B.2a, s = 1')} points early in RLVR on 100 examples"
        f" and by {of('B.2b, s = 1')} at its end, with none shared by {of('B.2a, s = 0')} and {of('B.2b, s = 0')}"
        f" ({SECTION_13})."
    )


NAMES = """\
- Students are the base model, fine-tuned. *base ← base* and *base ← RLVR* learn from right responses of the base and
  of the RLVR model; the others from a teacher that knows every fact: *reasoning only* about training questions that
  the base model answered by a valid chain, *new knowledge* about questions that need facts which it lacks and the
  test asks for, *extended* about all training questions. *On-policy*: the student writes, the teacher's probabilities
  correct it. *At 4e-4* names a learning rate.
- A response is the answer alone (*direct*), a chain that states two steps at once (*skip*), one that states each
  (*step*) or that looks at every step twice (*verify*); lessons of the pattern *fact* state a single fact.
- A *valid* or *verified* response is right in every step. *Answerable* questions need no fact that the base model's
  text never states; *hard* ones are answerable, and a valid response of the base model is rarer than one in 256.
- Sharpening: a *temperature* below 1, each response's probability raised to a *power*, or responses made to *begin*
  as a pattern does. One thing changed: a second look mends a quarter of the errors (*correction-0.25*) or none
  (*correction-0*) and not half, the base model has a third of the parameters (*smaller*), or the text looks twice at
  paths of at most two hops (*verify-to-2*).
- *s* is the share of the words of a reasoning step that domains have in common.
- Where a claim speaks of both students or of every domain, its number is that of the one that gains least. A4.7 of
  section 11 asks only whether any hard question falls out of reach, which a share, never below zero, can hardly deny:
  its size says more than its verdict."""


def also() -> str:
    "What the README leaves out."
    found = by_difficulty, beside_sharpening, by_rate, by_students, habits, after_the_warm_up
    return "\n".join(f"- {say()}" for say in found)


RESULTS = [
    ("What else was found", also), ("Names in the tables", lambda: NAMES),
    ("The record: exact capability over worlds (section 11)", record_arms, record_ledger),
    ("RLVR, sharpening, and RLVR with one thing changed (section 11)", sharpening, one_thing_changed),
    ("What a warm-up carries over, by how much domains share (section 13)", sharing_ledger),
    ("RLVR (section 03)", rlvr, computed, hardest),
    ("Ways of training, one base model (section 05)", arms),
    ("New knowledge, by pattern of the lessons (section 07)", doses),
    ("New knowledge in three worlds: an earlier edition's run (0.1.0, other base models, five seeds)", worlds),
    ("What makes a response worth distilling (section 08)", indicators), ("The ledger of claims (section 09)", ledger),
]


def results() -> str:
    "The text of RESULTS.md."
    parts = [f"## {title}\n\n" + "\n\n".join(make() for make in makers) for title, *makers in RESULTS]
    head = (
        "# Results\n\nThe tables of the recorded lab run, written by `tools/results.py` from the files in `figures/`;"
        " nothing here is typed by hand.\nIntervals are 95 %, over worlds in section 11, over questions and training"
        " seeds elsewhere; [how to read these\nnumbers](nbs/how_to_read_these_numbers.ipynb). Sections 02 to 05 and"
        " 07 to 09 come from\nworld 12, which is none of the record's, section 06 from a world of its own, each at one"
        " learning rate; section 07's\nthree worlds are an earlier edition's. In the ledger p is taken over training"
        " seeds where there are several, the interval\nover questions and seeds, so that the two may disagree: [what"
        " they can and cannot tell](README.md#what-it-can-and-cannot-tell)."
    )
    return "\n\n".join([head, *parts]) + "\n"


def readme(text: str) -> str:
    "The README with its findings as the tables have them."
    head, rest = text.split(BEGIN)
    return head + findings() + rest.split(END)[1]


if __name__ == "__main__":
    (ROOT / "RESULTS.md").write_text(results())
    (ROOT / "README.md").write_text(readme((ROOT / "README.md").read_text()))
    print(findings())
