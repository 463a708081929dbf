"""The README's numbers, from the tables of the lab run in figures/: python tools/readme_numbers.py prints the block."""
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- numbers of figures/, made by tools/readme_numbers.py -->", "<!-- end of numbers -->"


def interval(row) -> str: return f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def block() -> str:
    summary = pd.read_csv(ROOT / "figures" / "rlvr_summary.csv").query("split == 'test'")
    changes = pd.read_csv(ROOT / "figures" / "rlvr_differences.csv").query("split == 'test'").set_index("measure")
    moves = pd.read_csv(ROOT / "figures" / "rlvr_moves.csv").query("questions > 0").set_index(["model", "bin"])
    lines = [BEGIN, "| test questions, % | base | RLVR | difference (points) | p |", "|---|---|---|---|---|"]
    for measure, row in changes.iterrows():
        base, rl = (
            interval(summary[(summary["model"] == model) & (summary["measure"] == measure)].iloc[0])
            for model in ("base", "RLVR")
        )
        p = "< 0.001" if row["p_holm"] < .001 else f"{row['p_holm']:.2g}"
        lines.append(
            f"| {measure} | {base} | {rl} | {100 * row['difference']:+.1f} [{100 * row['low']:+.1f},"
            f" {100 * row['high']:+.1f}] | {p} |"
        )
    second = moves.xs("RLVR").index[1]
    rl, again = moves.loc[("RLVR", second)], moves.loc[("base, second draw", second)]
    lines += [
        "",
        (
            f"Of the {rl['questions']:.0f} hardest questions that the base model could solve (bin {second}),"
            f" {rl['down']:.0f} fell to none after RLVR where {rl['down_null']:.1f} would have if nothing had changed"
            f" (a second draw of the unchanged base model: {again['down']:.0f}), and {rl['up']:.0f} rose where"
            f" {rl['up_null']:.1f} would have (second draw: {again['up']:.0f})."
        ),
        "",
        arms(),
        "",
        doses(),
        "",
        worlds(),
        "",
        indicators(),
        "",
        ledger(),
        END,
    ]
    return "\n".join(lines)


def arms() -> str:
    "What each way of training does to accuracy and capability, as a table."
    changes = pd.read_csv(ROOT / "figures" / "distillation_differences.csv")
    capability = next(name for name in changes["measure"] if name.startswith("pass@"))
    told = lambda row: f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
    lines = [
        f"| same base model, {changes['seeds'].iloc[0]} training seeds, points | accuracy | {capability} |",
        "|---|---|---|",
    ]
    for arm, part in changes.groupby("arm", sort=False):
        by = part.set_index("measure")
        lines.append(f"| {arm} | {told(by.loc['accuracy'])} | {told(by.loc[capability])} |")
    return "\n".join(lines)


def doses() -> str:
    "What distillation does to capability without new knowledge, and what stating all missing facts adds, by pattern, as a table."
    table = pd.read_csv(ROOT / "figures" / "knowledge_confirmatory.csv")
    told = lambda row: f"{row['change']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}] {row['verdict']}"
    measures = list(dict.fromkeys(table["measure"]))
    lines = [
        "| points | "
        + " | ".join(f"{measure}, no new knowledge | {measure}, all missing facts add" for measure in measures)
        + " |",
        "|---" * (1 + 2 * len(measures)) + "|",
    ]
    table = table.assign(pattern=table["effect"].str.split(": ").str[0])
    for pattern, part in table.groupby("pattern", sort=False):
        lines.append(f"| {pattern} | " + " | ".join(told(row) for _, row in part.iterrows()) + " |")
    return "\n".join(lines)


def worlds() -> str:
    "The central patterns in each world, and RLVR at every dose, from the run with more seeds and worlds."
    folder = ROOT / "figures" / "full"
    table, along = (pd.read_csv(folder / f"knowledge_{name}.csv") for name in ("worlds", "by_dose"))
    told = lambda row: f"{row['change']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
    capability = next(name for name in table["measure"] if name.startswith("pass@"))
    cells = [
        (pattern, effect) for pattern in dict.fromkeys(table["pattern"]) for effect in dict.fromkeys(table["effect"])
    ]
    lines = [
        f"| {capability}, points | " + " | ".join(f"{pattern}: {effect}" for pattern, effect in cells) + " |",
        "|---" * (1 + len(cells)) + "|",
    ]
    for world, part in table[table["measure"] == capability].groupby("world"):
        by = part.set_index(["pattern", "effect"])
        lines.append(
            f"| world {world}, {part['seeds'].iloc[0]} seeds | "
            + " | ".join(told(by.loc[cell]) for cell in cells)
            + " |"
        )
    rlvr = along[(along["lessons"] == "RLVR") & (along["questions"] == "all") & (along["measure"] == capability)]
    return (
        "\n".join(lines)
        + f"\n\nRLVR on the questions of each dose changes {capability} by "
        + ", ".join(f"{told(row)} (dose {row['dose']:g})" for _, row in rlvr.iterrows())
        + f" points, {rlvr['seeds'].iloc[0]} seeds."
    )


def indicators() -> str:
    "Which indicators order response sets best, in a sentence a gain."
    table = pd.read_csv(ROOT / "figures" / "quality_ranking.csv").dropna(subset=["tau"])
    told = lambda row: f"{row['indicator']} (τ {row['tau']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}])"
    return " ".join(
        f"What {part['sets'].iloc[0]} response sets add to {gain} is ordered best by"
        f" {', '.join(told(row) for _, row in part.head(3).iterrows())}; length"
        f" {part.loc[part['indicator'] == 'length (tokens)', 'tau'].iloc[0]:+.2f}, reflection keywords"
        f" {part.loc[part['indicator'] == 'reflection keywords', 'tau'].iloc[0]:+.2f}."
        for gain, part in table.groupby("gain", sort=False)
    )


def ledger() -> str:
    "What the ledger of claims says, in a sentence."
    claims = pd.read_csv(ROOT / "figures" / "claims.csv")
    named = {name: part for name, part in claims.groupby("verdict", sort=False)}
    told = [
        f"{len(part)} {name}" + (f" ({'; '.join(part['claim'])})" if name in ("contradicted", "inconclusive") else "")
        for name, part in named.items()
        if name != "not run"
    ]
    waiting = (
        sorted(set(named["not run"]["note"].str.extract(r"section (\d\d)")[0].dropna())) if "not run" in named else []
    )
    left = f", {len(named['not run'])} not run, as sections {', '.join(waiting)} do not exist yet" if waiting else ""
    return (
        f"The ledger of {len(claims)} claims of both papers (`nbs/09_claims.ipynb`) says of this run:"
        f" {', '.join(told)}{left}."
    )


if __name__ == "__main__":
    readme = ROOT / "README.md"
    text = readme.read_text()
    head, rest = text.split(BEGIN)
    readme.write_text(head + block() + rest.split(END)[1])
    print(block())
