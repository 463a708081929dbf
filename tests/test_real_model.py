"""The seams fit real models: section 03 from end to end on real MATH-500 problems with a checkpoint as users have it."""
import json

import nbformat
import pandas as pd
from conftest import ROOT, command

SMALL = dict(task="math500", samples=4, max_tokens=40, test_questions=12, train_questions=6, steps=2, step_questions=2, group=10)


def run(tiny_qwen2, data, store, tmp_path, **more):
    given = [x for name, value in dict(model=tiny_qwen2, **SMALL | more).items() for x in ("-p", name, value)]
    return command("papermill", ROOT / "nbs" / "03_rlvr.ipynb", tmp_path / "out.ipynb", *given, out=store, cwd=tmp_path, RLVD_DATA=str(data))


def test_section_03_on_math_500(tiny_qwen2, data, store, tmp_path):
    done = run(tiny_qwen2, data, store, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    folder, = (store / "figures").iterdir()
    assert folder.name.startswith("paper-qwen2-math500-")
    figures = {path.stem for path in folder.glob("*.png")}
    assert {"rlvr_training", "rlvr_pass_at_k", "rlvr_change_by_bin", "rlvr_change_by_fine_bin", "rlvr_transitions", "rlvr_transitions_fine", "rlvr_entropy"} == figures
    summary = pd.read_csv(folder / "rlvr_summary.csv")
    assert {"accuracy", "maj@4", "pass@4", "guess pass@4"} == set(summary["measure"])
    record = json.loads((folder / "rlvr_summary.json").read_text())
    assert "sha256" in json.dumps(record["inputs"]["task"]) or "checksum" in json.dumps(record["inputs"]["task"])
    assert len(list(store.glob("store/samples/*/*.parquet"))) > 0
    notebook = nbformat.read(tmp_path / "out.ipynb", 4)
    assert "injected-parameters" in [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]


def test_a_response_that_does_not_fit_the_model(tiny_qwen2, data, store, tmp_path):
    done = run(tiny_qwen2, data, store, tmp_path, max_tokens=4096)
    assert done.returncode == 1 and "do not fit the model's 4096" in (tmp_path / "out.ipynb").read_text()
