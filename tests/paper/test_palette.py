"""One palette: who has which colour and marker, kept apart for other eyes and in grey, and named nowhere else."""
import json, re, subprocess, sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rlvd_nb.paper import palette
from rlvd_nb.paper.palette import (
    GAINS, HOLLOW, LOOKS, MODELS, PATTERNS, STARTS, TOGETHER, VERDICTS, apart, look, save_figure, seen, shades, styled)

ROOT = Path(__file__).resolve().parents[2]
ARMS = ("reasoning only", "new knowledge", "extended", "on-policy")
HEX = re.compile(r"(?<!\w)#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b")


def chroma(name): return float(np.hypot(*seen(look(name)["color"])[1:]))


def sources():
    "Name and source of everything that could name a colour."
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]: yield path, "".join(cell["source"])
    for path in sorted((ROOT / "rlvd_nb").rglob("*.py")): yield path, path.read_text()


def test_no_colour_is_named_outside_the_palette():
    named = re.compile(HEX.pattern + r"""|color=["'][a-z]|cmap=["']""")
    assert not [(path.name, *named.findall(text)) for path, text in sources()
                if "palette" not in path.name and named.search(text)]


def test_colours_would_be_found():
    text = "('#6b6b6b', 'o') color: #ccc; # %% ../01_palette.ipynb #159b1622 #| export"
    assert HEX.findall(text) == ["#6b6b6b", "#ccc"]


@pytest.mark.parametrize("group", TOGETHER)
def test_what_is_drawn_together_is_told_apart(group):
    "By most people, by a deuteranope, in grey print; and by the marker alone, but for two names of one model."
    looks = {name: look(name) for name in TOGETHER[group]}
    distance = apart([each["color"] for each in looks.values()])
    assert distance["colour"] >= 20 and distance["deuteranope"] >= 14 and distance["grey"] >= 7
    markers = [(each["marker"], each["markerfacecolor"] == palette.PAPER) for each in looks.values()]
    assert len(set(markers)) == len(looks) - ("RL" in looks and "RLVR" in looks)


def test_shades_and_gains_are_told_apart():
    assert apart([color for color, _ in GAINS.values()])["grey"] >= 7
    for count in range(2, 7): assert apart(shades(count))["grey"] >= 7


def test_one_name_one_look():
    assert len(LOOKS) == sum(len(each) for each in (
        MODELS, palette.CONTROLS, STARTS, PATTERNS, palette.GRADES, palette.DOMAINS, palette.SPLITS, VERDICTS))
    for name in LOOKS: assert look(name) == look(name, [*LOOKS, "another"])


def test_models_have_the_hues_that_the_text_says():
    assert chroma("base") < 1 and chroma("base, second draw") < 1
    assert seen(look("base, second draw")["color"])[0] > seen(look("base")["color"])[0] + 15
    assert look("RL") == look("RLVR") and seen(look("RL")["color"])[2] < -30  # blue
    for arm in (*ARMS, *STARTS): assert (seen(look(arm)["color"])[1:] > 5).all(), f"{arm} is not warm"
    for pattern in PATTERNS: assert chroma(pattern) > 25, f"{pattern} is as grey as the base model"


def test_nulls_are_outlines():
    assert {name for name in LOOKS if look(name)["markerfacecolor"] == palette.PAPER} == set(HOLLOW)
    assert HOLLOW == ("base, second draw", "inconclusive")


@pytest.mark.parametrize("known", [(), ("base",), ARMS[:3], ("base", "RLVR", *ARMS)])
def test_models_without_a_look_share_out_what_is_left(known):
    names = [*known, *(f"model {i}" for i in range(7))]
    looks = {name: (look(name, names)["color"], look(name, names)["marker"]) for name in names}
    assert len(set(looks.values())) == len(names) or set(known) >= set(ARMS)
    if set(known) < set(ARMS): assert looks["model 0"][0] not in {look(name)["color"] for name in known}
    assert len({marker for name, (_, marker) in looks.items() if name not in known}) == 7


def test_a_name_that_is_not_in_its_figure_is_refused():
    with pytest.raises(ValueError, match="'c' is not in list"): look("c", ["a", "b"])


def test_lightness_is_that_of_cielab():
    assert seen("white") == pytest.approx([100, 0, 0], abs=.01) and seen("black") == pytest.approx([0, 0, 0], abs=.01)
    assert seen("#777777")[0] == pytest.approx(50.03, abs=.01)
    assert seen("red") == pytest.approx([53.24, 80.09, 67.20], abs=.02)


def test_a_deuteranope_keeps_greys_and_loses_red_against_green():
    for grey in ("black", "#555555", "white"): assert seen(grey, True) == pytest.approx(seen(grey), abs=.1)
    red_green = apart(["#c04040", "#5a7d2b"])
    assert red_green["colour"] > 3 * red_green["deuteranope"]


def test_files_are_the_same_bytes_in_another_process(tmp_path):
    "Neither the order of a set nor a date nor a random id gets into a file."
    program = (
        "import sys; from pathlib import Path; from rlvd_nb.paper.figures import lines\n"
        "from rlvd_nb.paper.palette import save_figure\n"
        "save_figure(lines([1, 2], {'a': [0, 1], 'b': [1, 0]}, 'x', 'y'), Path(sys.argv[1]))"
    )
    for seed in "12":
        subprocess.run([sys.executable, "-c", program, str(tmp_path / seed)], check=True, env={"PYTHONHASHSEED": seed})
    for suffix in (".png", ".svg"):
        assert (tmp_path / "1").with_suffix(suffix).read_bytes() == (tmp_path / "2").with_suffix(suffix).read_bytes()


def test_a_styled_figure_is_closed_and_leaves_the_settings_alone():
    size, before = plt.rcParams["font.size"], plt.get_fignums()
    figure = styled(lambda: plt.figure())()
    assert plt.rcParams["font.size"] == size and plt.get_fignums() == before and figure.get_dpi() == 150


def test_no_axis_shows_a_power_of_ten(tmp_path):
    @styled
    def tiny():
        figure, axis = plt.subplots()
        axis.plot([0, 1], [1e-6, 1e-6 + 1e-8])
        return figure
    figure = tiny()
    save_figure(figure, tmp_path / "tiny")
    assert not figure.axes[0].yaxis.get_offset_text().get_text()
