"""Drawings: every function on a small input and on an empty one, and what a reader relies on in each."""
import warnings
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from rlvd_nb.core.errors import UserError
from rlvd_nb.paper import figures
from rlvd_nb.paper.palette import NARROW, PATTERNS, look, save_figure
from rlvd_nb.stats.comparison import FINE_BINS, PAPER_BINS, bin_labels, change_by_bin, paired_band, transitions
from rlvd_nb.stats.estimators import Band, guess_pass_at_k, pass_at_k_curve, simultaneous_band

RNG = np.random.default_rng(0)
N = 256
RATES = RNG.beta(.4, .8, 60)
WEAK, AGAIN, STRONG = (RNG.binomial(N, rates) for rates in (RATES, RATES, RATES**.5))
KS = 2 ** np.arange(9)


def band(counts, ks=KS): return simultaneous_band(pass_at_k_curve(counts, N, ks), ks, 200, clip=(0, 1))


def gap(a, b): return paired_band(pass_at_k_curve(a, N, KS), pass_at_k_curve(b, N, KS), KS, 200)


def by_bin(edges=PAPER_BINS, second=AGAIN): return change_by_bin(WEAK, STRONG, N, edges, second, simulations=50)


def moves(after=STRONG, edges=PAPER_BINS): return transitions(WEAK, after, N, edges, simulations=50)


def points(names, groups=bin_labels(PAPER_BINS), column="bin", n=50):
    "A point a name and group, with its interval."
    return pd.DataFrame([
        {column: group, "model": name, "value": i + j, "low": i + j - .5, "high": i + j + 1, "questions": n + j}
        for i, name in enumerate(names) for j, group in enumerate(groups)
    ])


CHANGES = pd.DataFrame([
    dict(domain=domain, training=training, start=start, value=1.0, low=-2.0, high=3.0, questions=100)
    for domain in ("knights", "kinship", "tracing", "choice") for training in ("RLVR on kinship", "RLVR on tracing")
    for start in ("base", "warm-up")
])
ALONG = pd.DataFrame([
    dict(target=target, start=start, step=step, value=40.0 + step, low=30.0 + step, high=50.0 + step, questions=200)
    for target in ("kinship", "tracing") for start in ("base", "warm-up") for step in (0, 10)
])
ARROWS = pd.DataFrame(dict(
    arm=["RLVR", "on-policy"], x=[20.0, 30.0], x_low=[15.0, 28.0], x_high=[25.0, 33.0], y=[-5.0, 4.0],
    y_low=[-9.0, 1.0], y_high=[-1.0, 6.0]))
HISTORY = pd.DataFrame({
    "step": range(1, 41), "reward": np.linspace(.2, 1, 40), "groups without gradient": .5, "token entropy": .1,
    "response length": 12.0, "gradient norm": .01})
LEDGER = pd.DataFrame(
    [
        ("1", "accuracy rises", "points", 12.0, 9.0, 15.0, "above", 0.0, "supported"),
        ("2", "the hardest fall", "points", 8.0, 2.0, 14.0, "below", 0.0, "contradicted"),
        ("3", "length stays", "log ratio", 1.03, .99, 1.08, "within", .1, "inconclusive"),
        ("4", "new knowledge helps", "points", np.nan, np.nan, np.nan, "above", 0.0, "not run"),
        ("5", "votes rise", "points", 4.0, np.nan, np.nan, "above", 0.0, "too few to say"),
    ],
    columns=["id", "claim", "unit", "value", "low", "high", "direction", "threshold", "verdict"],
)
SETS = pd.DataFrame({
    "set": ["base", "RL"], "accuracy": [5.0, 20.0], "accuracy low": [3.0, 17.0], "accuracy high": [7.0, 23.0],
    "pass@256": [-5.0, 2.0], "pass@256 low": [-8.0, 0.0], "pass@256 high": [-2.0, 4.0]})
TAUS = pd.DataFrame([
    dict(indicator=name, gain=gain, tau=tau, low=tau - .2, high=tau + .2, tau_given_length=.1, given_low=0,
         given_high=.3)
    for gain in ("accuracy", "pass@256") for name, tau in (("surprisal", -.3), ("length", .5))
])

PATHS = pd.DataFrame([
    dict(arm=arm, step=step, x=x, x_low=x - .02, x_high=x + .02, y=y, y_low=y - .01, y_high=y + .01)
    for arm, step, x, y in (
        ("base", 0, .2, .85), ("RLVR at 3e-4", 100, .4, .86), ("RLVR at 3e-4", 200, .5, .87),
        ("RLVR at 1e-3", 100, .45, .8),
    )
])

DRAWN = {
    "change_plane": lambda: figures.change_plane({"other weights": ARROWS}, "pass@1 (points)", "pass@5 (points)"),
    "frontier_paths": lambda: figures.frontier_paths({"pass@256": PATHS}, "accuracy"),
    "nothing_to_draw": lambda: figures.nothing_to_draw("no reason"),
    "pass_at_k_curves": lambda: figures.pass_at_k_curves({
        split: {"base": band(WEAK), "RLVR": band(STRONG)} for split in ("train", "test")}),
    "band_difference": lambda: figures.band_difference(gap(WEAK, STRONG), "RLVR − base"),
    "changes_by_bin": lambda: figures.changes_by_bin({"train": by_bin(), "test": by_bin()}),
    "transition_matrices": lambda: figures.transition_matrices({
        "RLVR": moves(), "base model, second draw": moves(AGAIN)}),
    "points_by_group": lambda: figures.points_by_group(
        points(["base", "RLVR"]), "bin", "model", "entropy (nats)", "right answers of the base model"),
    "domain_panels": lambda: figures.domain_panels(CHANGES, "training", "start", "change of accuracy (points)"),
    "training_curves": lambda: figures.training_curves(HISTORY),
    "small_curves": lambda: figures.small_curves(ALONG, "target", "start", "step", "RLVR step", "accuracy (%)"),
    "change_arrows": lambda: figures.change_arrows(ARROWS, ARROWS[["arm", "x", "y"]], "accuracy (points)", "pass@256"),
    "spectrum": lambda: figures.spectrum(WEAK, N, ["known", "unknown"] * 30, ["unknown", "known"]),
    "lines": lambda: figures.lines(
        KS, {f"one of {m}": guess_pass_at_k(1 / m, KS) for m in (4, 30, 400)}, "k (samples a question)", "pass@k", 2),
    "forest": lambda: figures.forest(LEDGER),
    "set_gains": lambda: figures.set_gains(SETS, "accuracy", "pass@256"),
    "ranking_forest": lambda: figures.ranking_forest(TAUS),
}
NOBODY = Band(np.array([]), np.array([]), np.array([]), np.array([]), 0)
NONE = pd.DataFrame()  # as a table made from no rows is: without columns
EMPTY = {
    "change_plane": [
        lambda: figures.change_plane({}, "x", "y"), lambda: figures.change_plane({"none": NONE}, "x", "y")],
    "frontier_paths": [lambda: figures.frontier_paths({"pass@256": NONE}, "accuracy")],
    "nothing_to_draw": [lambda: figures.nothing_to_draw("")],
    "pass_at_k_curves": [
        lambda: figures.pass_at_k_curves({}), lambda: figures.pass_at_k_curves({"test": {}}),
        lambda: figures.pass_at_k_curves({"test": {"base": NOBODY}})],
    "band_difference": [lambda: figures.band_difference(NOBODY, "B − A")],
    "changes_by_bin": [
        lambda: figures.changes_by_bin({}), lambda: figures.changes_by_bin({"test": NONE}),
        lambda: figures.changes_by_bin({"test": by_bin().assign(questions=0)})],
    "transition_matrices": [lambda: figures.transition_matrices({})],
    "points_by_group": [
        lambda: figures.points_by_group(NONE, "bin", "model", "accuracy"),
        lambda: figures.points_by_group(points(["base"])[:0], "bin", "model", "accuracy"),
        lambda: figures.points_by_group(points(["base"]).assign(value=np.nan), "bin", "model", "accuracy")],
    "domain_panels": [lambda: figures.domain_panels(NONE, "training", "start", "points")],
    "training_curves": [
        lambda: figures.training_curves(NONE), lambda: figures.training_curves(HISTORY[["step"]]),
        lambda: figures.training_curves(HISTORY[:0]),
        lambda: figures.training_curves(HISTORY[["step"]].assign(loss=np.nan))],
    "small_curves": [lambda: figures.small_curves(NONE, "target", "start", "step", "step", "accuracy (%)")],
    "change_arrows": [lambda: figures.change_arrows(NONE, NONE, "x", "y")],
    "spectrum": [lambda: figures.spectrum(np.array([]), N, [], ["known"])],
    "lines": [lambda: figures.lines([], {"a": []}, "x", "y"), lambda: figures.lines([1], {}, "x", "y")],
    "forest": [lambda: figures.forest(NONE), lambda: figures.forest(LEDGER[3:4])],
    "set_gains": [lambda: figures.set_gains(NONE, "accuracy"), lambda: figures.set_gains(SETS)],
    "ranking_forest": [lambda: figures.ranking_forest(NONE), lambda: figures.ranking_forest(TAUS.assign(tau=np.nan))],
}
CROWDED = {
    "fine bins in two panels": lambda: figures.changes_by_bin({"train": by_bin(FINE_BINS), "test": by_bin(FINE_BINS)}),
    "bins without questions": lambda: figures.changes_by_bin({
        split: change_by_bin(WEAK // 64, STRONG // 64, N, FINE_BINS, simulations=50) for split in ("train", "test")}),
    "fine bins of a narrow figure": lambda: figures.points_by_group(
        points(["base", "RLVR"], bin_labels(FINE_BINS)), "bin", "model", "entropy (nats)"),
    "points without an interval": lambda: figures.points_by_group(
        points(["base"], ["a"]).assign(low=np.nan, high=np.nan), "bin", "model", "tokens"),
    "a training without an interval": lambda: figures.domain_panels(
        CHANGES.assign(low=np.nan, high=np.nan), "training", "start", "points"),
    "bins of one question": lambda: figures.changes_by_bin({
        "test": change_by_bin(WEAK[:3], STRONG[:3], N, simulations=20)}),
    "twelve long names": lambda: figures.points_by_group(
        points(["base"], [f"RLVR on kinship → domain {i}" for i in range(12)]), "bin", "model", "points", width=6.8),
    "seven models": lambda: figures.pass_at_k_curves({
        split: {name: band(WEAK) for name in (
            "base", "RLVR", "reasoning only", "new knowledge", "extended", "on-policy", "teacher")}
        for split in ("train", "test")}),
    "ten long models": lambda: figures.points_by_group(
        points([f"a model with a rather long name {i}" for i in range(10)], ["a", "b"]), "bin", "model", "accuracy"),
    "seven curves of a training": lambda: figures.training_curves(HISTORY.assign(kl=0.0, loss=1e-5 * HISTORY["step"])),
}


def laid_out(figure):
    "The figure after its layout, with what measures its texts."
    figure.draw_without_rendering()
    return FigureCanvasAgg(figure).get_renderer()


def texts(figure): return [text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text"))]


def seen_labels(axis):
    "Labels of the x axis that are drawn: those inside its limits."
    low, high = axis.get_xlim()
    return [label for place, label in zip(axis.get_xticks(), axis.get_xticklabels())
            if label.get_text() and low <= place <= high]


def legend(figure): return [text.get_text() for text in figure.legends[0].get_texts()]


def marked(axis): return [line for line in axis.lines if line.get_marker() != "None"]


def test_every_drawing_function_is_tried_here():
    public = {name for name in figures.__all__ if callable(getattr(figures, name)) and name != "check_forest"}
    assert public == set(DRAWN) == set(EMPTY)


@pytest.mark.parametrize("name", [*DRAWN, *CROWDED])
def test_draws_without_a_warning_and_to_the_same_bytes(name, tmp_path):
    draw = (DRAWN | CROWDED)[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = ([path.read_bytes() for path in save_figure(draw(), tmp_path / each)] for each in "ab")
    assert first == second and len(first[0]) > 3000


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_to_draw_is_said(name, tmp_path):
    for draw in EMPTY[name]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = draw()
            save_figure(figure, tmp_path / name)
        assert [text.partition(":")[0] for text in texts(figure) if text] == ["nothing to draw"]


@pytest.mark.parametrize("draw, column", [
    (lambda: figures.points_by_group(points(["base"]).drop(columns="low"), "bin", "model", "accuracy"), "low"),
    (lambda: figures.points_by_group(points(["base"]), "place", "model", "accuracy"), "place"),
    (lambda: figures.domain_panels(CHANGES, "row", "start", "points"), "row"),
    (lambda: figures.small_curves(ALONG.drop(columns="step"), "target", "start", "step", "step", "accuracy"), "step"),
    (lambda: figures.training_curves(HISTORY.drop(columns="step")), "step"),
    (lambda: figures.changes_by_bin({"test": by_bin().drop(columns="null_change")}), "null_change"),
    (lambda: figures.change_arrows(ARROWS.drop(columns="y_low"), ARROWS, "x", "y"), "y_low"),
    (lambda: figures.change_arrows(ARROWS, ARROWS.drop(columns="arm"), "x", "y"), "arm"),
    (lambda: figures.forest(LEDGER.drop(columns="id")), "id"),
    (lambda: figures.set_gains(SETS, "length"), "length"),
    (lambda: figures.ranking_forest(TAUS.drop(columns="given_low")), "given_low"),
])
def test_a_missing_column_is_named_in_one_line(draw, column):
    with pytest.raises(UserError, match=f"^a figure needs the column '{column}'; there are: [^\n]*$"): draw()


@pytest.mark.parametrize("draw, message", [
    (lambda: figures.spectrum(WEAK, N, ["known"] * 60, ["unknown"]), "order must name every group; 'known' is missing"),
    (lambda: figures.forest(LEDGER.replace("supported", "proved")), "unknown verdict 'proved'; known: supported, "),
    (lambda: figures.forest(LEDGER.replace("above", "up")), "unknown direction 'up'; known: above, below, within"),
])
def test_bad_input_is_one_clear_line(draw, message):
    with pytest.raises(UserError, match=message): draw()


@pytest.mark.parametrize("name", [*DRAWN, *CROWDED])
def test_labels_do_not_collide(name):
    "Tick labels of an axis, names and titles of panels side by side; a legend stays inside the figure."
    figure = (DRAWN | CROWDED)[name]()
    renderer = laid_out(figure)
    box = lambda text: text.get_window_extent(renderer)
    level = [label for axis in figure.axes for label in seen_labels(axis) if not label.get_rotation()]
    assert not [(a.get_text(), b.get_text()) for a, b in combinations(level, 2) if box(a).overlaps(box(b))]
    for axis in figure.axes:
        upright = [label for label in axis.get_yticklabels() if label.get_text()]
        assert not [(a.get_text(), b.get_text()) for a, b in pairwise(upright) if box(a).overlaps(box(b))]
    for part in ("title", "xlabel"):
        of = lambda axis: axis.title if part == "title" else axis.xaxis.label
        named = [of(axis) for axis in figure.axes if of(axis).get_text()]
        assert not [(a.get_text(), b.get_text()) for a, b in combinations(named, 2) if box(a).overlaps(box(b))]
    for legend in figure.legends:
        assert box(legend).x0 >= 0 and box(legend).x1 <= figure.bbox.x1


def test_bins_are_slanted_only_where_nothing_else_helps():
    slanted = lambda figure: {label.get_rotation() for axis in figure.axes for label in axis.get_xticklabels()}
    assert slanted(CROWDED["fine bins in two panels"]()) == {0} and slanted(DRAWN["points_by_group"]()) == {0}
    assert slanted(CROWDED["fine bins of a narrow figure"]()) == {40}


@pytest.mark.parametrize("values", [(0, 1), (.5, .999), (0, 0), (1, 1), (2, 99), (97, 100)])
def test_an_axis_of_rates_does_not_leave_them(values):
    whole = 1 if max(values) <= 1 else 100
    table = pd.DataFrame(dict(bin=["a", "b"], model="base", value=values, low=values, high=values))
    figure = figures.points_by_group(table, "bin", "model", "accuracy")
    low, high = figure.axes[0].get_ylim()
    assert 0 <= low <= min(values) and max(values) <= high <= whole and high - low >= .01
    laid_out(figure)
    assert all(0 <= float(label.get_text()) <= whole for label in figure.axes[0].get_yticklabels() if label.get_text())


@pytest.mark.parametrize("whole, low, value, high", [
    (100, -4, 3, 10), (100, 90, 97, 104), (1, -.2, .1, .4), (1, -2, .5, 3)])
def test_an_interval_of_a_rate_is_cut_where_rates_end(whole, low, value, high):
    table = pd.DataFrame(dict(bin=["a", "b"], model="base", step=[0, 1], value=value, low=low, high=high))
    for figure in (
        figures.points_by_group(table, "bin", "model", "accuracy", whole=whole),
        figures.small_curves(table, "bin", "model", "step", "step", "accuracy", whole=whole),
    ):
        for axis in figure.axes:
            bottom, top = axis.get_ylim()
            assert 0 <= bottom < value < top <= whole and all(each.get_clip_on() for each in axis.collections)
            assert not [line for line in axis.lines if line.get_marker() == "None"]  # and no line at zero


def test_a_curve_of_one_point_has_its_interval():
    axis = figures.small_curves(ALONG[ALONG["step"] == 0], "target", "start", "step", "step", "accuracy").axes[0]
    ends = [tuple(segment[:, 1]) for each in axis.collections if isinstance(each, LineCollection)
            for segment in each.get_segments()]
    assert ends == [(30, 50), (30, 50)]
    axis = DRAWN["small_curves"]().axes[0]
    laid_out(axis.figure)
    assert not [label for label in axis.get_xticklabels() if "." in label.get_text()]  # steps are whole


def test_pass_at_k_of_models_that_solve_all_or_nothing():
    figure = figures.pass_at_k_curves({"test": {"base": band(0 * WEAK), "teacher": band(0 * WEAK + N)}})
    assert figure.axes[0].get_ylim() == (0, 1)
    never = band(0 * WEAK)
    nothing = figures.pass_at_k_curves({"test": {"base": never}}).axes[0]
    assert nothing.get_ylim() == pytest.approx((0, 1.05 * never.high.max())) and not nothing.lines[0].get_ydata().any()
    assert not nothing.lines[0].get_clip_on()  # its markers stand whole on the axis


def test_a_difference_that_is_zero_but_for_rounding_is_drawn_as_zero():
    same = pass_at_k_curve(WEAK, N, KS)
    figure = figures.band_difference(paired_band(same, same + 1e-17, KS, 200), "B − A")
    laid_out(figure)
    labels = [float(label.get_text().replace("−", "-")) for label in figure.axes[0].get_yticklabels()]
    assert figure.axes[0].get_ylim() == pytest.approx((-.55, .55)) and max(map(abs, labels)) >= .4
    assert not figure.axes[0].yaxis.get_offset_text().get_text()


def test_k_is_logarithmic_and_the_questions_are_counted():
    axis = figures.pass_at_k_curves({"test": {"base": band(WEAK, np.arange(1, 101))}}).axes[0]
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_xticklabels()] == "1 2 4 8 16 32 64".split()
    assert axis.get_xlabel() == "k (samples a question); test, 60 questions"
    assert axis.lines[0].get_markevery() == [0, 1, 3, 7, 15, 31, 63]
    one = figures.pass_at_k_curves({"test": {"base": band(WEAK, np.array([1]))}}).axes[0]
    assert [label.get_text() for label in one.get_xticklabels()] == ["1"]


def test_panels_of_different_models_share_one_legend():
    figure = figures.pass_at_k_curves({
        "train": {"base": band(WEAK)}, "test": {"mine": band(STRONG), "yours": band(AGAIN)}})
    assert legend(figure) == ["base", "mine", "yours"]
    colors = [line.get_color() for axis in figure.axes for line in axis.lines]
    assert colors == [look(name, ["base", "mine", "yours"])["color"] for name in ("base", "mine", "yours")]


def test_intervals_are_drawn_as_they_are():
    table = points(["base", "RLVR"], ["a", "b"])
    axis = figures.points_by_group(table, "bin", "model", "tokens").axes[0]
    ends = [tuple(segment[:, 1]) for each in axis.collections for segment in each.get_segments()]
    assert ends == list(zip(table["low"], table["high"]))
    odd = table.assign(low=5.0, high=6.0)  # an interval that leaves its value out is no error of the drawing
    segments = figures.points_by_group(odd, "bin", "model", "tokens").axes[0].collections[0].get_segments()
    assert [tuple(segment[:, 1]) for segment in segments] == [(5, 6), (5, 6)]


def test_points_keep_the_colours_of_their_names():
    table = points(PATTERNS, ["known", "unknown"])
    axis = figures.points_by_group(table, "bin", "model", "accuracy").axes[0]
    assert [(line.get_color(), line.get_marker()) for line in marked(axis)] == list(PATTERNS.values())


def test_bins_stand_in_their_order_whoever_comes_first():
    table = points(["base", "RLVR"]).iloc[2:]  # the first model has no question in the lowest bins
    axis = figures.points_by_group(table, "bin", "model", "tokens").axes[0]
    assert [label.get_text().split("\n")[0] for label in axis.get_xticklabels()] == bin_labels(PAPER_BINS)


@pytest.mark.parametrize("questions, ticks, xlabel, names", [
    ([50, 50, 50, 50], ["a", "b"], "bin, 50 questions", ["base", "RLVR"]),
    ([50, 20, 50, 20], ["a\nn=50", "b\nn=20"], "bin", ["base", "RLVR"]),
    ([50, 20, 48, 20], ["a\nn=48–50", "b\nn=20"], "bin", ["base", "RLVR"]),
    ([50, 50, 20, 20], ["a", "b"], "bin", ["base, n=50", "RLVR, n=20"]),
])
def test_questions_are_counted_where_they_differ(questions, ticks, xlabel, names):
    figure = figures.points_by_group(
        points(["base", "RLVR"], ["a", "b"]).assign(questions=questions), "bin", "model", "tokens", "bin")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ticks
    assert figure.axes[0].get_xlabel() == xlabel
    assert legend(figure) == names


def test_a_column_of_questions_that_are_no_numbers_is_not_counted():
    table = ALONG.assign(questions="all")
    axes = figures.small_curves(table, "target", "start", "step", "dose", "points").axes
    assert [axis.get_title() for axis in axes] == ["kinship", "tracing"]


def test_the_null_is_an_outline_and_the_legend_says_which():
    with_draw, without = (figures.changes_by_bin({"test": by_bin(second=second)}) for second in (AGAIN, None))
    assert legend(with_draw) == ["RLVR", "the base model, second draw"]
    assert legend(without) == ["RLVR", "expected of a second draw of the base model"]
    bins, bars = len(by_bin()), with_draw.axes[0].patches
    assert all(bar.get_fill() for bar in bars[:bins]) and not any(bar.get_fill() for bar in bars[bins:])
    assert [bar.get_height() for bar in bars[bins:]] == pytest.approx(100 * by_bin()["second_change"])
    assert [bar.get_height() for bar in without.axes[0].patches[bins:]] == pytest.approx(100 * by_bin()["null_change"])


def test_a_second_draw_that_one_panel_lacks_is_drawn_in_none():
    figure = figures.changes_by_bin({"train": by_bin(), "test": by_bin(second=None)})
    assert legend(figure)[1] == "expected of a second draw of the base model"
    for axis in figure.axes:
        heights = [bar.get_height() for bar in axis.patches[len(by_bin()):]]
        assert heights == pytest.approx(100 * by_bin()["null_change"])


def test_curves_of_different_length_share_an_axis_that_holds_both():
    axis = figures.pass_at_k_curves({"test": {"base": band(WEAK, KS[:4]), "RLVR": band(STRONG)}}).axes[0]
    assert axis.get_xlim()[1] > 256 and axis.get_xticks()[-1] == 256


def test_bars_have_their_intervals_and_bins_their_numbers():
    table, axis = by_bin(), figures.changes_by_bin({"test": by_bin()}).axes[0]
    ends = [segment[:, 1] for each in axis.collections for segment in each.get_segments() if len(segment)]
    assert np.allclose(ends, 100 * table[["low", "high"]].dropna())  # too few questions have no interval
    shown = [label.get_text() for label in axis.get_xticklabels()]
    assert shown == [f"{row.bin}\nn={row.questions}" for row in table.itertuples()]
    assert axis.get_xlabel() == "right answers of the base model; test"


def test_matrices_count_frame_and_say_what_they_show():
    table, figure = moves(), figures.transition_matrices({"RLVR": moves()})
    axis = figure.axes[0]
    assert legend(figure) == ["observed (expected)", "p < 0.05, unadjusted"]
    framed = table.p_cell < .05
    assert len(axis.patches) == int(framed[table.observed.sum(1) > 0].sum())
    cells = {text.get_position(): text.get_text() for text in axis.texts}
    assert cells[0, 0] == f"{table.observed[0, 0]}\n({table.expected[0, 0]:.{int(table.expected[0, 0] < 9.95)}f})"
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        f"{label} n={total}" for label, total in zip(table.labels, table.observed.sum(1))]


def test_matrices_of_no_questions_are_left_out():
    empty = transitions([0], [0], 4, (0, 4), simulations=10)
    empty = type(empty)(**vars(empty) | dict(observed=0 * empty.observed))
    assert len(figures.transition_matrices({"a": empty, "RLVR": moves()}).axes[0].texts) > 0
    assert "nothing to draw: no question fell into a bin" in texts(figures.transition_matrices({"a": empty}))


def test_domains_have_a_panel_trainings_a_row_and_starts_their_look():
    figure = DRAWN["domain_panels"]()
    assert [axis.get_title() for axis in figure.axes] == [
        f"{domain}\n100 questions" for domain in ("knights", "kinship", "tracing", "choice")]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["RLVR on kinship", "RLVR on tracing"] and figure.axes[0].get_ylim() == (1.5, -.5)
    base, warm = marked(figure.axes[1])
    assert (base.get_color(), warm.get_color()) == (look("base")["color"], look("warm-up")["color"])
    assert (base.get_ydata() < [0, 1]).all() and (warm.get_ydata() > [0, 1]).all() and list(base.get_xdata()) == [1, 1]
    ends = [tuple(segment[:, 0]) for each in figure.axes[1].collections for segment in each.get_segments()]
    assert ends == [(-2, 3)] * 4
    assert len({axis.get_xlim() for axis in figure.axes}) == 1


def test_a_domain_without_a_start_has_its_other_points():
    part = CHANGES[~((CHANGES["domain"] == "choice") & (CHANGES["start"] == "base"))]
    figure = figures.domain_panels(part, "training", "start", "points")
    assert [len(each.get_segments()) for each in figure.axes[3].collections] == [0, 2]


def test_one_training_step_is_a_point():
    axis = figures.training_curves(HISTORY[:1]).axes[0]
    assert axis.lines[1].get_marker() == look("RLVR")["marker"] and axis.get_xlim() == (0, 2)
    laid_out(axis.figure)
    assert {label.get_text() for label in axis.get_xticklabels()} <= {"0", "1", "2"}


def test_the_running_mean_is_named_and_right():
    figure = figures.training_curves(HISTORY)
    assert legend(figure) == ["a step", "running mean over 2 steps"]
    mean = HISTORY["reward"].rolling(2, min_periods=1, center=True).mean()
    assert np.allclose(figure.axes[0].lines[1].get_ydata(), mean)
    assert figures.training_curves(HISTORY.assign(kl=np.nan)).axes[4].get_title() == "gradient norm"


def test_arrows_have_their_crosses_seeds_and_base():
    figure = DRAWN["change_arrows"]()
    crosses = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    assert [tuple(map(tuple, each.get_segments()[0])) for each in crosses[:2]] == [
        ((15, -5), (25, -5)), ((20, -9), (20, -1))]
    assert legend(figure) == ["base", "RLVR", "on-policy", "one training seed"]


def test_a_spectrum_counts_its_groups():
    figure = DRAWN["spectrum"]()
    assert legend(figure) == ["unknown (30)", "known (30)"]
    assert figure.axes[0].get_ylabel() == "questions, of 60" and figure.axes[0].get_xlim() == (0, 1)
    assert len(figures.spectrum(np.minimum(WEAK, 4), 4, ["known"] * 60, ["known"]).axes[0].patches) == 4


def test_lines_of_models_keep_their_colours_and_the_null_is_dashed():
    axis = figures.lines([1, 10], {"base, second draw": [1, .5], "RL": [1, .7]}, "draws", "share", 10).axes[0]
    assert [(line.get_color(), line.get_linestyle()) for line in axis.lines] == [
        (look("base, second draw")["color"], "--"), (look("RL")["color"], "-")]
    assert figures.lines([1], {"a": [1]}, "x", "y").axes[0].lines[0].get_marker() == "o"


def test_a_forest_shows_its_threshold_verdicts_and_what_was_not_run():
    figure = figures.forest(LEDGER)
    points_axis, ratio = figure.axes
    assert ratio.get_xlim()[0] < -.1 and ratio.get_xlim()[1] > 1.08
    assert [(line.get_color(), line.get_marker()) for line in marked(points_axis)] == [
        (look(verdict)["color"], look(verdict)["marker"])
        for verdict in ("supported", "contradicted", "too few to say")]
    assert to_hex(ratio.lines[0].get_markerfacecolor()) == "#ffffff"
    assert "1 not run: 4" in texts(figure) and "+12.0 [+9.0, +15.0]" in texts(figure)


def test_an_effect_without_an_interval_has_a_value_alone():
    alone = LEDGER[:1].assign(low=np.nan, high=np.nan)
    assert "+12.0" in texts(figures.forest(alone))
    open_end = LEDGER[:1].assign(high=np.inf)
    assert np.isfinite(figures.forest(open_end).axes[0].get_xlim()).all()


def test_many_claims_that_were_not_run_do_not_leave_the_figure():
    absent = pd.concat([LEDGER[:1], *[LEDGER[3:4].assign(id=f"A{i}.{i}") for i in range(60)]], ignore_index=True)
    figure = figures.forest(absent)
    box = figure._supxlabel.get_window_extent(laid_out(figure))
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


def test_sets_and_indicators_stand_in_their_order():
    names = lambda figure: [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names(DRAWN["set_gains"]()) == ["RL", "base"] and names(DRAWN["ranking_forest"]()) == ["surprisal", "length"]
    assert len(figures.set_gains(SETS, "accuracy", "pass@256", "accuracy").axes[2].lines) == 2  # a third measure too
    assert legend(DRAWN["ranking_forest"]()) == ["τ", "τ with length taken out"]


def test_an_indicator_that_one_gain_lacks_leaves_its_row_empty():
    figure = figures.ranking_forest(TAUS[:3])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["surprisal", "length"]
    both, one = (marked(axis)[0].get_xdata() for axis in figure.axes)
    assert list(both) == [-.3, .5] and one[0] == -.3 and np.isnan(one[1])


@pytest.mark.parametrize("name", DRAWN)
def test_figures_fit_a_column_or_a_page(name):
    assert NARROW <= DRAWN[name]().get_figwidth() <= 6.8
