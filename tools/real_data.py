"""Make the published counts that the package ships, from a folder that holds them as they were collected:
python tools/real_data.py FOLDER (RLVD_DATA/real). The same input gives the same bytes."""
import csv, gzip, io, json, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "rlvd_nb" / "responses" / "data"


def rows_of(path: Path) -> list[dict]:
    "Rows of a CSV file, compressed or not."
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return list(csv.DictReader(io.StringIO(text)))


def write(name: str, columns: list[str], rows: list) -> None:
    "A compressed CSV without a time in it."
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([columns, *rows])
    with open(PLACE / f"{name}.csv.gz", "wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as file:
        file.write(text.getvalue().encode())


def qwen7b_simplerl(folder: Path) -> None:
    rows = rows_of(folder / "qwen7b_simplerl_math500" / "counts.csv")
    names = ["unique_id", "subject", "level", "n", "base_correct", "simplerl_correct"]
    write("qwen7b_simplerl", names, [[row[name] for name in names] for row in rows])
    text = (folder / "qwen7b_simplerl_math500" / "published_aggregates.json").read_text()
    found = json.dumps(json.loads(text), indent=1)
    (PLACE / "qwen7b_simplerl_published.json").write_text(found + "\n")


def sft_ppo(folder: Path) -> None:
    rows = rows_of(folder / "sft_ppo_gsm8k" / "verdicts.csv")
    names = ["run", "model_alias", "qid", "gold", "n_rollouts", "n_correct", "verdicts", "pred_values"]
    write("sft_ppo", names, [[row[name] for name in names] for row in rows])


def oneshot(folder: Path) -> None:
    "A row a question: its counts out of 8, a digit a visit; in the order of the file, by which ties of its rank go."
    found = json.loads(gzip.decompress((folder / "oneshot_rlvr_training" / "acc_step_500.json.gz").read_bytes()))
    digits = {int(index): "".join(f"{8 * rate:.0f}" for rate in visits) for index, visits in found.items()}
    write("oneshot_training", ["index", "counts_of_8"], list(digits.items()))


def cruxeval(folder: Path) -> None:
    "A row a file of samples: 800 counts out of 10 in the order of the questions, 10 as X."
    files, order = {}, [f"sample_{i}" for i in range(800)]
    for row in rows_of(folder / "cruxeval" / "cruxeval_verdicts.csv.gz"):
        key = row["model"], row["cot"], row["temperature"], row["task"]
        files.setdefault(key, {})[row["sample_id"]] = "X" if row["c"] == "10" else row["c"]
    stated = {
        (row["model"], row["cot"], row["temperature"], row["task"]): (row["pass_at_1"], row["pass_at_5"])
        for row in rows_of(folder / "cruxeval" / "published_pass_at_k.csv")
    }
    names = ["model", "cot", "temperature", "task", "pass_at_1", "pass_at_5", "counts_of_10"]
    write("cruxeval", names, [[*key, *stated[key], "".join(map(files[key].get, order))] for key in sorted(files)])


def mmlu_pro(folder: Path) -> None:
    rows = rows_of(folder / "mmlu_pro_predictions" / "preds.csv.gz")
    models = [name for name in rows[0] if name not in ("question_id", "category", "answer")]
    right = [[row["question_id"], row["category"], *(int(row[m] == row["answer"]) for m in models)] for row in rows]
    write("mmlu_pro", ["question_id", "category", *models], right)


if __name__ == "__main__":
    if len(sys.argv) != 2: sys.exit("usage: python tools/real_data.py FOLDER")
    PLACE.mkdir(parents=True, exist_ok=True)
    for make in (qwen7b_simplerl, sft_ppo, oneshot, cruxeval, mmlu_pro): make(Path(sys.argv[1]))
    print("\n".join(f"{path.stat().st_size:8,d} {path.name}" for path in sorted(PLACE.iterdir())))
