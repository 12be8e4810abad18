"""Votes of annotators, written and read."""

from data_modules.labels import format_votes, parse_votes, vote_shares


def test_votes_come_back_without_those_that_nobody_chose():
    votes = {"sadness": 3, "anger": 7, "fear": 0}
    assert format_votes(votes) == "anger=7 sadness=3"
    assert parse_votes(format_votes(votes)) == {"anger": 7, "sadness": 3}
    assert parse_votes("") == {}


def test_shares_are_of_the_votes_for_the_classes():
    votes = "anger=3 contempt=4 sadness=1"
    assert vote_shares(votes, ("anger", "fear", "sadness")) == [0.75, 0.0, 0.25]
    assert vote_shares(votes, ("fear",)) is None
    assert vote_shares("", ("fear",)) is None
