"""Responses that are made to begin: two tasks that differ in one word, judged as the domain judges the whole."""
import pytest

from rlvd_nb.tasks.begun import task

SMALL = dict(train_questions=12, test_questions=12)
DOMAINS = {
    "kinship": dict(entities=24, relations=4, kinds=(.5, .4, .1), mark=True, question_depths=(2,)),
    "tracing": {}, "choice": dict(letters=False), "knights": dict(question_people=(2,)),
}


@pytest.fixture(params=DOMAINS)
def pair(request):
    "A domain begun with the operator and begun plainly."
    options = dict(of=request.param, operator=.3, **SMALL, **DOMAINS[request.param])
    return task(**options), task(plain=True, **options)


def test_the_two_beginnings_differ_in_the_word_that_opens_an_attempt(pair):
    tried, plain = (each.questions("test") for each in pair)
    assert tried and [f"{q.prompt} try" for q in plain] == [q.prompt for q in tried]


def test_the_rest_of_a_right_chain_is_right(pair):
    for each in pair:
        for question in each.questions("train"):
            grade = each.grade(question, each.gold_response(question))
            assert (grade.verdict, grade.chain) == ("right", True), (question.prompt, each.gold_response(question))


def test_questions_keep_their_ids_so_that_they_can_be_paired(pair):
    assert [q.id for q in pair[0].questions("test")] == [q.id for q in pair[1].questions("test")]


def test_the_two_have_sources_of_their_own(pair):
    tried, plain = (each.source() for each in pair)
    assert tried != plain and tried["domain"] == plain["domain"]
