r"""Answers of mathematics as models write them: what they say, what they do not, and nothing that is right by luck.

Each table holds cases of one kind of fault: (gold, what is right, what is wrong).
"""
import json, random, re
from fractions import Fraction

import pytest
from hypothesis import given, settings, strategies as st

from rlvd_nb.core.tables import read_rows, write_rows
from rlvd_nb.tasks.base import ERROR, RIGHT, UNPARSED, WRONG, Question
from rlvd_nb.tasks.grading import grade_pairs, verdict_counts
from rlvd_nb.tasks.math_answers import LastBoxed, agree, grade_answer, read_answer, tidy

KINDS = dict(
    compared_by_other_means=[  # the verifier raises on these
        (r"x\ne 3", [r"x\neq 3", r"3 \ne x", "x ≠ 3", r"x \neq 3.0", r"x\not= 3"],
         [r"x\ne 2", "x>3", "x=3", "3", r"x\ne 3, x\ne 4"]),
        ("12:00", ["12:00", r"12\!:\!00", r"\text{12:00}"], ["0:00", "12:01", "12", r"\infty"]),
        (r"\text{undefined}", ["undefined", r"\text{Undefined.}"], [r"\frac{1}{0}", "0"]),
        ("x>3", ["3<x", "x > 3.0", r"(3,\infty)"], [r"x\ge 3", "x<3", "x>4", "3", r"x\ne 3"]),
        (r"\frac{1}{0}", [r"\dfrac{1}{0}"], ["5", r"\frac{2}{0}+1"]),
        (r"-\infty", [r"-\infty"], [r"\infty", "5"]),
        (r"\frac12", [r"\int_0^1 x\,dx", r"\sum_{k=1}^{\infty}\frac{1}{3^k}"],
         [r"\int_0^1 x^2\,dx", r"\lim_{x\to\infty}x"]),
        ("5", [], [r"\log 0", r"\infty-\infty", r"\frac{0}{0}", r"\sqrt[0]{2}", r"\binom{-1}{2}"]),
        ("1<x<2", ["(1,2)", r"1 \lt x \lt 2"], ["1<x", "1<x<3", "x>1 and x>2", r"1\le x\le 2"]),
        ("5", [], [r"24\begin{pmatrix}1\\2\end{pmatrix}", r"\{x \mid x>5\}", r"x\ne 5", r"5\to 6", "00:05", "nan"]),
        (r"\begin{pmatrix}2\\4\end{pmatrix}", [r"2\begin{pmatrix}1\\2\end{pmatrix}"],
         [r"\sqrt{\begin{pmatrix}4\\16\end{pmatrix}}"]),
    ],
    equations=[  # an equation is no value, unless it names one
        ("0", ["x=0", "f(2)=0", "0.0", "5-5=0", "=0"],
         ["x^2-4=0", "x-1=0", "ax^2+bx+c=0", r"\sin x=0", "x+y=0", "5x-7y+11z+4=0", r"x^2\ge 0", r"\{\}",
          r"\emptyset"]),
        ("5", ["x=5", "5=x", "f(2)=5", "2+3=5", r"x=\frac{10}{2}=5", "m+n=5", "|AB|=5", r"\text{Area}=5", "100a+b=5",
          "x_1=5", r"x\approx 5", "f^{-1}(3)=5", "P(A|B)=5", r"\angle ABC=5^\circ", "=5"],
         ["x+3=5", "2x=5", "x^2+x=5", "4+4=5", "x=4,y=5", "x=3=5", "|x-1|=5", r"x\ge 5", "x<5", r"x\ne 5",
          r"x=5\text{ or }6", "x^2=5", "n^2=5", "x+y=5", "xy=5", "x^2+y^2=5", r"\sqrt{x}=5", r"\frac{x}{2}=5",
          r"\sin x=5", "x^2+1=5", "5x=5", "x^2-4x+5=5"]),
        ("4", ["x=4", "AB=4", r"\overline{AB}=4", "a+b=4"], ["x^2=4", "x^2-4=0", "2x=4", "2^x=4", "4x=4", "x-4=0"]),
        (r"\frac12", [r"\sin\theta=\frac12", r"\cos A=0.5", r"P(A)=\frac{1}{2}"], [r"\sin x=\frac12", r"2x=\frac12"]),
        ("2", ["x=2"],
         ["x=2 or 3", r"x=2\text{ or }x=3", "x=2,3", "x=2, y=2", r"x\in\{2,3\}", r"x=\pm 2", "x^2=4", "x^2-2=0"]),
        ("x=5", ["5", "x = 5.0", "5=x"], ["y=5", "x=6", "6", "x=5,6", "x>5"]),
        ("y=2x+3", ["2x+3", "y=3+2x", "y-2x=3", "2x-y+3=0"], ["y=2x-3", "x=2x+3", "2x-3", "y=3x+3", "3", "0"]),
        ("5x-7y+11z+4=0", ["-5x+7y-11z=4", "10x-14y+22z+8=0"], ["0", "5x-7y+11z+4", "5x-7y+11z=4", "5x-7y+11z+4=1"]),
    ],
    exact_numbers=[
        (r"\frac1{20!}", [r"\frac{1}{20!}", r"\frac{1}{2432902008176640000}"],
         [r"\frac1{21!}", "0", "0.0", r"\frac{1}{20!+1}", "10^{-18}"]),
        ("0", [], ["10^{-30}", r"\frac{1}{10^{20}}", "0.000001", r"\frac1{50!}"]),
        ("1", [r"0.999\overline{9}", "1.0", r"\frac{3}{3}"],
         ["1+10^{-40}", "0.9999999", "1.0000001", "0.999999999999"]),
        ("10^{50}", ["1" + "0" * 50, r"10^{25}\cdot 10^{25}"], ["10^{50}+1", "10^{49}", "1" + "0" * 49 + "1"]),
        ("123456789012345678901234567890", ["123,456,789,012,345,678,901,234,567,890"],
         ["123456789012345678901234567891", "1.2345678901234568e29"]),
        ("2^{1000}", [str(2**1000), "4^{500}"], ["2^{1000}+1", str(2**1000 + 1)]),
        (r"\sqrt{2}", ["2^{1/2}", r"\frac{2}{\sqrt2}", "1.41421356", "1.414213"],
         ["1.414", "1.4143", r"\frac{665857}{470832}", r"\frac{99}{70}"]),
        (r"\pi", ["3.14159265", "3.1415926"], ["3.14", r"\frac{22}{7}", r"\frac{355}{113}", "180", r"180^\circ"]),
        (r"\frac13", ["0.333333", "0.33333333333333331"], ["0.333", "0.3333", "0.33", "0.333334"]),
        ("0.333", ["0.3330", r"\frac{333}{1000}"], [r"\frac13", "0.3333", "0.3329"]),
        (".0000672", ["0.0000672", "6.72e-5", r"6.72\times 10^{-5}"], [".0000673", "0.00006721", "0"]),
        ("0.3", [r"\frac{3}{10}", "0.30000000000000004", r"30\%"], ["0.31", "0.300001", r"\frac13"]),
        (r"\frac{x}{20!}", [r"\frac{1}{20!}x"], [r"\frac{x}{21!}", "0"]),
    ],
    letters=[  # are no factors
        ("BAC", ["BAC", "bac", r"\text{BAC}", r"\angle BAC"], ["ABC", "CAB", "BCA", "A", "AB", "BAAC"]),
        ("ABCD", [r"\overline{ABCD}"], ["DCBA", "ABDC"]),
        (r"\angle ABC", ["ABC"], [r"\angle BAC", r"\angle CBA"]),
        (r"\text{east}", ["east", "East", "EAST"], ["seat", "eats", r"\text{west}", "5"]),
        (r"\text{no}", ["No"], ["on", "yes", "none"]),
        (r"\text{Evelyn}", ["Evelyn", r"\textbf{evelyn}"], ["Navin", "nEvely", "E"]),
        ("xy", ["yx", r"x\cdot y"], ["x", "x+y", "xz"]),
        (r"5\text{ hours }30\text{ minutes}", [r"5 \text{ Hours } 30\text{ minutes}"],
         [r"30\text{ hours }5\text{ minutes}", "150"]),
    ],
    times_and_ratios=[
        ("12:30", ["12:30", "12{:}30", r"12:30\text{ p.m.}"], ["24:60", "12:03", "2:5", "0.4", r"\frac{12}{30}"]),
        ("9:05", ["09:05", r"9:05\text{ a.m.}"], ["9:50", "18:10", "9:06"]),
        ("15:00", [r"3:00\text{ p.m.}"], [r"3:00\text{ a.m.}"]),
        (r"3:00\text{ p.m.}", ["15:00", "3:00 PM"], [r"3:00\text{ a.m.}", "3:30 pm"]),
        ("0.5", ["1:2"], ["12:24", "6:12"]),
        ("2:3", ["4:6", r"\frac23"], ["3:2", "2:4"]),
        ("1:2:3", ["2:4:6", "1 : 2 : 3"], ["1:3:2", "3:2:1", "1:6", r"\frac16", "1:2"]),
        ("52_8", ["52_{8}", "52", r"52_\text{8}", "52₈"], ["52_5", "42", "25_8", "52_{10}"]),
        ("52", ["52_{10}"], ["52_8"]),
    ],
    lists=[
        ("1,2", ["2,1", r"\{1,2\}", "1 and 2", "(1, 2)", "x=1, x=2", r"x\in\{2,1\}", "1;2"],
         ["1,1,2", "1", "2", "1,2,3", "[1,2]", "12"]),
        ("3,3,5", ["5,3,3"], ["3,5,5", "3,5", "3,3,3,5"]),
        ("2", ["x=2", r"\{2\}"], ["2,2", "2,3", r"\pm 2", "(2,2)", "[2,3]", r"\{2,3\}"]),
        (r"\{1,2\}", ["1,2", r"\{2,1\}", r"\{1,2,2\}"], ["(1,2)", "[1,2]", r"\{1,3\}", r"\{1\}"]),
        ("(3,4)", ["3,4", "(3.0, 4)", r"\bigl(3,4\bigr)", r"\langle 3,4\rangle", "x=3, y=4", "(x,y)=(3,4)"],
         ["(4,3)", "4,3", r"\{3,4\}", "[3,4]", "(3,4]", "3<x<4", "(3,4,5)", "12"]),
        ("(2,1)", [], ["[2,1]", "(1,2)", r"\{2,1\}", "[2,1)"]),
        ("[1,2]", [r"x\in[1,2]", r"1\le x\le 2"], ["(1,2)", "1,2", "[2,1]", "[1,2)"]),
        (r"(2,\infty)", ["x>2", r"(2, +\infty)", "2<x"], [r"[2,\infty)", r"x\ge 2", r"(-\infty,2)", "2"]),
        (r"(-\infty,-2]\cup[3,\infty)",
         [r"x\le-2 or x\ge3", r"x\le-2\text{ or }x\ge3", r"x \ge 3 \text{, or } x \le -2", r"x≤-2 ∨ x≥3",
          r"-2\ge t\lor t\ge3",
          r"\{x \mid x\le-2 \text{ or } x\ge3\}", r"x\le-2 \cup x\ge3", r"x\in(-\infty,-2]\text{ or }x\in[3,\infty)",
          r"(-\infty,-2]\text{ or }[3,\infty)", r"x\le-\sqrt4\text{ or }x\ge\frac62", r"x<-2, or x=-2, or x\ge3"],
         [r"x\le-2\text{ and }x\ge3", r"x<-2\text{ or }x\ge3", r"x\le-2\text{ or }x\ge4", r"x\le-2", r"x\ge3",
          r"x^2-x\ge6",
          r"(x+2)(x-3)\ge0", r"x\le-2\text{ or }y\ge3", r"-2\le x\le3", r"x\le-2\text{ or }2x\ge6", r"x\ne0"]),
        (r"x\le-2\text{ or }x\ge3",
         [r"(-\infty,-2]\cup[3,\infty)", r"x\ge3 or x\le-2", r"x\le-2,x\ge3", r"x\in(-\infty,-2]\cup[3,\infty)"],
         [r"x\le-2\text{ and }x\ge3", r"x\le-2", r"(-\infty,-2)\cup(3,\infty)", r"x^2-x\ge6",
          r"y\le-2\text{ or }y\ge3"]),
        ("[1,5]", [r"x\ge1\text{ and }x\le5", r"1\le x\le5"], [r"x\ge1\text{ or }x\le5", r"x\ge1", r"|x-3|\le2"]),
        ("1<x<5", [r"x>1\text{ and }x<5", "(1,5)"], [r"x>1\text{ or }x<5", "[1,5]"]),
        (r"x\ne3", ["x<3 or x>3", r"(-\infty,3)\cup(3,\infty)"], ["x<3", r"x\le3 or x>3"]),
        ("x<1 or y>2", ["y>2 or x<1"], ["y>2 and x<1", "x<1", "x<2 or y>1"]),
        (r"(-\infty,2)\cup(3,\infty)", [r"(3,\infty)\cup(-\infty,2)", r"x\in(-\infty,2)\cup(3,\infty)"],
         [r"(-\infty,2)", r"(-\infty,2]\cup(3,\infty)", "(2,3)", r"(-\infty,2)\cap(3,\infty)"]),
        (r"1\pm\sqrt{19}", [r"x=1\pm\sqrt{19}", r"1-\sqrt{19},1+\sqrt{19}"],
         [r"1+\sqrt{19}", r"\pm\sqrt{19}", r"1,\sqrt{19}"]),
        ("1200,3400", ["1,200, 3,400", "3400, 1200"], ["1200", "12003400"]),
        ("(1,234)", ["(1, 234)"], ["1234", "1,234"]),
        ("1,234", ["1234", "1{,}234", r"1\,234"], ["1, 234", "(1,234)"]),
        ("((1,2),(3,4))", ["(1,2),(3,4)"], ["((1,2),(4,3))"]),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", [r"\begin{bmatrix}1\\2.0\end{bmatrix}", "(1,2)",
         r"\langle 1,\,\frac42\rangle",
          r"\left(\begin{array}{c}1\\2\end{array}\right)", r"\begin{pmatrix} 1 \\ 2 \\ \end{pmatrix}",
         r"\mathbf{v}=(1,2)"],
         [r"\begin{pmatrix}1&2\end{pmatrix}", "(2,1)", "[1,2]", r"\{1,2\}", "1,2", "(1,2,0)", "(1,2]", "3", r"(1\ 2)"]),
        ("(1,2,3)", [r"\begin{pmatrix}1\\2\\3\end{pmatrix}", r"\begin{bmatrix}1\\\frac42\\3\end{bmatrix}"],
         [r"\begin{pmatrix}1&2&3\end{pmatrix}", r"\begin{pmatrix}3\\2\\1\end{pmatrix}",
          r"\begin{pmatrix}1\\2\end{pmatrix}",
          r"\begin{vmatrix}1\\2\\3\end{vmatrix}"]),
        ("(1,2),(3,4)", [r"\begin{pmatrix}3\\4\end{pmatrix},\begin{pmatrix}1\\2\end{pmatrix}"],
         [r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"]),
        ("[1,2]", [], [r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}"]),
    ],
    percent_degrees_units=[
        ("0.5", [r"50\%", "50%", "50 percent"], [r"0.5\%", "50", r"5\%"]),
        ("50", [r"50\%"], [r"0.5\%", "0.5"]),
        (r"7\%", ["7", "0.07", r"\frac{7}{100}"], [r"0.07\%", "700", "0.7"]),
        (r"\frac14", [r"25\%"], ["25", r"\frac14\%"]),
        ("90", [r"90^\circ", "90°", "90º", "90 degrees", r"90\text{ degrees}", r"90^{\circ}", r"90\degree"],
         [r"\frac{\pi}{2}", "91°"]),
        (r"\frac12", [r"\sin 30^\circ", r"\cos 60°"], [r"\sin 30", r"\cos 30^\circ"]),
        ("3m", [r"3\text{ }m", "m+2m"], ["3", "3t", "3k"]),
        ("5", [r"5~\text{m/s}", "5 cm", r"5\,\mathrm{m}\cdot\mathrm{s}^{-1}", r"5\text{ m}^2", r"\text{5 apples}",
          "5 square meters", "€5", r"\$5", "5m"],
         ["5k", "5xy", "2ab", r"5\text{ m }6", "5 5"]),
        ("6", ["2(3)", "(2)(3)", r"2\cdot 3"], ["2 4", "2+3"]),
        ("5", [], ["2(3)", "(4)(1)", "2 3"]),
        ("2", [], ["2ab", "2bc", "2d", "2 x"]),
        ("(2,4)", [r"(2,4)\text{ cm}", "(2,4) units"], [r"(4,2)\text{ cm}", r"\text{(2,4) or }(4,2)"]),
        ("2k", ["2k units", r"2k\text{ cm}"], ["3k units", "2m"]),
        (r"12\pi", [r"12\pi units", r"12\pi\text{ cm}^2"], ["12 units"]),
        ("52_8", [r"52_8\text{ apples}", "x=52_8", "(52)_8"], [r"52_5\text{ apples}", "x=52_5"]),
    ],
    typesetting=[
        ("3+4i", [r"3+4\mathrm{i}", r"4\text{i}+3", r"3 + 4\mathit{i}", "3+4𝑖"],
         [r"3-4\mathrm{i}", "7", r"3+4\mathrm{j}"]),
        ("e^2", [r"\mathrm{e}^2", r"\text{e}^2", r"\mathrm{e}^{2}"], ["e^3", "2e"]),
        ("x", [r"\mathrm{x}", r"\mathbf{x}"], [r"\mathrm{y}"]),
        ("12000", [r"12\,000", "12 000", "12{,}000", r"12,\!000", "12~000", "12'000", r"12\ 000", "1.2e4"],
         ["12", r"12\,00", "12,00"]),
        ("1234567", [r"1\,234\,567", "1 234 567"], [r"1\,234", r"1\,234\,5678"]),
        ("0.00001", ["1e-5", "1E-5", "1.0e-05", "10^{-5}"], ["1e5", "1e-6"]),
        ("2e-5", ["-5+2e", "2e - 5"], ["2e+5"]),
        ("3e+2", ["2+3e"], ["3e"]),
        ("1500", ["1.5e3", "1.5E+3"], ["1.5e2"]),
        (r"\frac{14}{3}", ["4 2/3", r"4\frac23", r"4\,2/3", r"4\ 2/3", "4⅔", r"4\tfrac{2}{3}"],
         ["4 2", r"\frac{8}{3}", "42/3"]),
        (r"-\frac52", ["-2 1/2", "−2½", r"-2\frac12"], ["2 1/2", r"-\frac32"]),
        (r"\frac12", ["½", r"\tfrac12", "1⁄2"], ["⅓"]),
        ("(5,6)", [r"\bigl(5,6\bigr)", r"\Big(5 , 6\Big)", r"\left(5,6\right)", "（5，6）"], [r"\bigl(6,5\bigr)"]),
        (r"\{1,2\}", [r"\Bigl\{1,2\Bigr\}", r"\lbrace 1,2\rbrace"], [r"\bigl(1,2\bigr)"]),
        ("|x|", [r"\lvert x\rvert", r"\left|x\right|"], ["x"]),
        (r"\text{yes}", [r"\text{Yes.}", "YES", r"\textbf{yes}!", "yes", r"\mathrm{Yes}"],
         ["no", r"\text{yes and no}"]),
        (r"\text{ellipse}", [r"\text{An ellipse.}", "Ellipse"], ["circle"]),
        (r"\text{(C)}", ["C", "(c)", r"\textbf{(C)}\ 12", "C. 12"], ["B", "12"]),
        (r"\frac13", [r"0.\overline{3}", r"0.\bar{3}", r"0.\dot{3}", "0.3\u0305", "0.(3)", r"0.3\overline{3}"],
         [r"0.\overline{34}", "0.3"]),
        (r"\frac16", [r"0.1\overline{6}", r"0.1\dot6", "0.1666...", r"0.1666\ldots", "0.1666…", r"0.1\overline6",
         r"0.1\bar 6"],
         [r"0.\overline{16}", "0.166...", "0.1666", "0.1616...", "0.1667..."]),
        (r"\frac13", ["0.333...", r"0.3333\dots", r"33.333...\%", "0.333... ", r"x=0.333...", r"$0.333\ldots$",
         r"0.333...\text{ cm}"],
         ["0.33...", "0.3...", "0.334...", "0.333", "3.333...", "-0.333...", "0.333...4"]),
        (r"\frac{4}{11}", ["0.3636...", "0.363636..."], ["0.36...", "0.366...", "0.36"]),
        (r"\frac{1333}{9999}", ["0.13331333..."], ["0.1333..."]),
        (r"\frac{2}{15}", ["0.1333..."], ["0.13331333...", "0.133..."]),
        ("1", ["0.999...", "1.000..."], ["0.99...", "0.9"]),
        ("0.333", ["0.333"], ["0.333...", r"0.\overline{333}"]),
        (r"0.\overline{3}", ["0.333...", r"\frac13"], ["0.3", "0.333"]),
        ("0.333...", [r"\frac13", "0.33333333"], ["0.333", "0.3"]),
        ("1, 2, 3, ...", ["1,2,3,..."], ["1,2,4,..."]),
        ("e", ["2.718281828..."], ["2.718...", "2.7..."]),
        (r"\frac{1}{16}", [r"\frac1{16}", r"\frac{1}{16}", "1/16"], [r"\frac116", r"\frac{1}{1}6"]),
        (r"\frac{11}{6}", [r"\frac{11}6", r"1\frac56"], [r"\frac116", r"\frac{1}{1}6"]),
        ("6", [], [r"\frac116", r"\frac{1}{1}6"]), ("7", [], [r"\frac116", r"\frac{1}{1}6"]), ("12", [],
         [r"\frac{6}{1}6"]),
        (r"\frac16", [r"\frac 1 6", r"\frac1 6"], [r"\frac161", r"\frac 1 6 1"]),
        (r"-\frac53", [r"-1.\overline{6}"], [r"1.\overline{6}"]),
        (r"\frac{16}{99}", [r"0.\overline{16}", r"0.\dot{1}\dot{6}"], [r"0.1\overline{6}"]),
        (r"\sqrt2", ["√2", "√{2}", "√(2)", "sqrt(2)"], ["√3"]),
        (r"\frac{\sqrt3}{2}", ["√3/2"], ["√(3/2)"]),
        (r"\sqrt{12}", ["√12", "2√3"], ["√1"]),
        (r"\sqrt[3]{2}", ["∛2"], ["√2"]),
        ("12", ["１２", "12．0"], ["１３"]),
        ("-5", ["−5", "–5", "—5", "－5"], ["5"]),
        ("(3,-4)", ["(3, −4)"], ["(3, 4)"]),
        ("x^{10}", ["x¹⁰"], ["x^1"]),
        (r"2\pi", ["2π", "2pi"], ["2p"]),
        (r"x\le 3", ["x≤3", r"x\leqslant 3"], ["x<3"]),
        (r"\cot x", ["cot x"], ["tan x"]),
        ("5", [r"\textcolor{red}{5}", r"\displaystyle 5", r"\phantom{1}5", "{5}", "$5$", r"\(5\)", "5.", r"\,5\,"],
         [r"\textcolor{red}{6}"]),
    ],
)
CASES = [(kind, verdict, gold, answer) for kind, rows in KINDS.items() for gold, right, wrong in rows
         for verdict, answers in ((RIGHT, right), ("not right", wrong)) for answer in answers]


@pytest.mark.parametrize("kind, verdict, gold, answer", CASES)
def test_what_models_write(kind, verdict, gold, answer):
    "Right or not, and never an exception; the gold answer is right in the same words."
    found = grade_answer(gold, read_answer(rf"So \boxed{{{answer}}}.")).verdict
    assert found == RIGHT if verdict == RIGHT else found in (WRONG, UNPARSED)
    assert grade_answer(gold, gold).verdict == RIGHT


MENTIONS = [
    r"I used \boxed as you asked.", r"It is in \boxed{} as asked.", r"I put it into `\boxed`.", r"See \boxed.",
    r"As \boxed{...} says.", r"As in \boxed{\ldots}", r"\boxed{answer} was asked for.", r"\boxed{\text{your answer}}",
    r"as \boxed{ANSWER}", r"into \boxed{the final answer}", r"I used \boxed 3 times.", r"the \boxed command",
    r"$\boxed$", r"in \boxed-style", r"\boxed's use", r"not \boxed{8}", r"rather than $\boxed{8}$.",
    r"instead of \(\boxed{8}\)",
    r"\boxed", r"in \fbox", r"\boxed{\_\_\_}", r"a \boxed I used", r"`\boxed{}`",
]
BARE = [
    r"\boxed 7", r"$\boxed7$", r"\(\boxed 7\)", r"\boxed 7.", r"\boxed 7, no more", "\\boxed 7\nas asked",
    r"$\boxed 7 \text{ m}$",
]


@pytest.mark.parametrize("mention", MENTIONS)
def test_a_mention_is_no_answer(mention):
    assert read_answer(rf"So \boxed{{7}}. {mention}") == "7" and read_answer(mention) is None
    assert read_answer(rf"{mention} So \boxed{{7}}") == "7"


@pytest.mark.parametrize("box", BARE)
def test_a_box_without_braces_holds_a_word(box): assert read_answer(f"First \\boxed{{3}}, no: {box}") == "7"


# Properties

small = st.integers(-40, 40)
parts = st.lists(small, min_size=2, max_size=5)


@settings(max_examples=60, deadline=None)
@given(st.integers(-10**30, 10**30), st.integers(1, 10**6), st.integers(-3, 3), st.integers(1, 50))
def test_fractions_are_compared_exactly(top, bottom, more, factor):
    answer = rf"\frac{{{top * factor + more}}}{{{bottom * factor}}}"
    assert agree(rf"\frac{{{top}}}{{{bottom}}}", answer) == (more == 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), st.integers(0, 999), st.integers(0, 9999), st.sampled_from(["overline", "bar"]))
def test_a_repeating_decimal_is_its_fraction(whole, once, again, bar):
    places, period = len(str(once)), len(str(again))
    number = Fraction(int(f"{whole}{once}{again}") - int(f"{whole}{once}"), 10**places * (10**period - 1))
    fraction = rf"\frac{{{number.numerator}}}{{{number.denominator}}}"
    for said in (rf"{whole}.{once}\{bar}{{{again}}}", f"{whole}.{once}{10 * str(again)}..."):
        assert agree(fraction, said)
        assert not agree(rf"\frac{{{number.numerator + 1}}}{{{number.denominator}}}", said)


@settings(max_examples=60, deadline=None)
@given(parts, st.randoms(use_true_random=False), small)
def test_a_list_has_any_order_and_a_point_its_own(numbers, order, other):
    mixed, text = order.sample(numbers, len(numbers)), lambda numbers: ", ".join(map(str, numbers))
    assert agree(text(numbers), text(mixed)) and agree(rf"\{{{text(numbers)}\}}", text(mixed + mixed[:1]))
    assert agree(f"({text(numbers)})", f"({text(mixed)})") == (mixed == numbers)
    assert not agree(text(numbers), text(mixed + mixed[:1])) and not agree(str(other), text(numbers))
    assert agree(text(numbers), text([other, *mixed[1:]])) == (other == mixed[0])


@given(st.text("ABCDEFG", min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_mixed_letters_are_another_name(name, order):
    mixed = "".join(order.sample(name, len(name)))
    assert agree(name, mixed) == agree(rf"\text{{{name}}}", mixed.lower()) == (mixed == name)


@given(st.integers(0, 23), st.integers(0, 59), st.integers(1, 99), st.integers(0, 99))
def test_a_time_is_another_time_only_if_it_is_the_same(hour, minute, other_hour, other_minute):
    gold, answer = f"{hour}:{minute:02d}", f"{other_hour}:{other_minute:02d}"
    assert agree(gold, answer) == ((hour, minute) == (other_hour, other_minute))


@settings(max_examples=150, deadline=None)
@given(
    st.text("0123x=<>,()[]{}/\\_-+.:%|ie ½√−°", max_size=12),
    st.sampled_from(["5", "x=5", "(1,2)", "1<x<2", "east", "12:00"]),
)
def test_any_answer_gets_a_verdict(answer, gold):
    assert grade_answer(gold, answer).verdict in (RIGHT, WRONG, UNPARSED)
    assert grade_answer(gold, answer).verdict != RIGHT or any(letter.isalnum() or letter == "½" for letter in answer)


@given(
    st.sampled_from(CASES),
    st.sampled_from(["{}", "${}$", r"\left.{}\right.", r"\displaystyle {}", "{{{}}}", r" \,{}~ "]),
)
def test_tidying_twice_is_tidying_once(case, spelling):
    tidied = tidy(spelling.format(case[3]))
    assert tidy(tidied) == tidied and tidied.strip() == tidied


# Real golds

def bare(answer, ordered):
    "A gold answer without what no comparison looks at: blanks, units, degrees, names, brackets, in lists the order."
    for gone in (r"\!", r"\$", r"^\circ", "x=", "(", ")", r"\mbox{ cm}^2", r"\text{ degrees}", " "):
        answer = answer.replace(gone, "")
    if re.fullmatch(r"\d+(,\d{3})+", answer): return answer.replace(",", "")
    listed = answer.replace(r"\frac14", r"\frac{1}{4}").split(",")
    return listed if ordered else sorted(listed)


def same(gold, answer):
    "Whether two golds are the same to who looks at them; a base may be left out, but not added."
    ordered = gold.startswith("(")
    return bare(gold, ordered) in (bare(answer, ordered), bare(f"{answer}_9", ordered))


@pytest.fixture(scope="module")
def golds(data):
    lines = (data / "math500.jsonl").read_text().split("\n")
    return sorted({json.loads(line)["answer"] for line in lines if line})


def test_a_gold_of_another_question_is_right_only_if_it_is_the_same(golds):
    "Each of the 301 different golds against 25 of the others, and against all that look alike."
    for number, gold in enumerate(golds):
        alike = [other for other in golds if same(gold, other)]
        for other in random.Random(number).sample(golds, 25) + alike:
            assert grade_answer(gold, other).verdict == (RIGHT if other in alike else WRONG)


def test_golds_of_word_problems_are_right(data):
    "GSM8K's golds are numbers, some with commas and signs; each is right, and right for its neighbour only if equal."
    lines = (data / "gsm8k_test.jsonl").read_text().split("\n")
    numbers = [json.loads(line)["answer"].rpartition("####")[2].strip() for line in lines if line]
    for gold, other in zip(numbers, numbers[1:]):
        assert agree(gold, rf"\${gold}") and agree(gold, f"{gold}.00")
        assert agree(gold, other) == (gold.replace(",", "") == other.replace(",", ""))


# Many at once, and the command line

def test_errors_are_failures_of_the_machine_alone():
    question = lambda gold: Question(id=gold, prompt="?", gold=gold, split="test")
    few = CASES[:40] + CASES[40::20]
    judged = [(question(gold), rf"\boxed{{{answer}}}") for _, _, gold, answer in few]
    judge = LastBoxed()
    judge.name = "boxed"
    hostile = (question("5"), r"\boxed{9^{9^{9^{9}}}}")
    counts = verdict_counts(grade_pairs(judge, [*judged, hostile], workers=2, seconds=5))
    assert counts[ERROR] == 1 and counts[RIGHT] == sum(verdict == RIGHT for _, verdict, *_ in few)


def test_the_command_judges_what_models_write(rlvd, tmp_path):
    rows = [
        dict(question="a", gold=r"x\ne 3", response=r"\boxed{x\ne 2}", expected="wrong"),
        dict(question="a", gold=r"x\ne 3", response=r"\boxed{x \neq 3}", expected="right"),
        dict(question="b", gold="12:00", response=r"\boxed{12:00}", expected="right"),
        dict(question="c", gold="7", response="\\boxed{7}\n\nQuestion: 5 + 7?\n\\boxed{12}", expected="right"),
        dict(question="c", gold="7", response=r"\boxed{7}<|im_end|> I used \boxed as you asked.", expected="right"),
        dict(question="d", gold="0", response=r"\boxed{x^2-4=0}", expected="wrong"),
    ]
    done = rlvd("grade", write_rows(tmp_path / "mine.jsonl", rows), "--out", tmp_path / "graded.jsonl")
    assert done.returncode == 0 and "0 error" in done.stdout, done.stderr
    assert [row["verdict"] for row in read_rows(tmp_path / "graded.jsonl")] == [row["expected"] for row in rows]
