"""From members and a method to an ensemble: fitted where it may look, applied to both splits."""

from collections.abc import Sequence

from data_modules.utils.progress import progress
from fer_lightning.ensemble.members import (
    Member,
    combined_selection,
    ensemble_table,
    inner_tables,
    probabilities_of,
    searched_tables,
)
from fer_lightning.ensemble.methods import FOLDS, Method, cross_fitted
from fer_lightning.ensemble.result import Ensemble


def combine(members: Sequence[Member], method: Method, selection: str = "inner") -> Ensemble:
    """Fits a method where it may look, and applies it to the reported and the inner split.

    Raises:
        FileNotFoundError: a search lacks an inner table.
        ValueError: a search would look at what it must not, or tables do not match.
    """
    return _searched(members, method, selection) if method.searches else _plain(members, method)


def _plain(members: Sequence[Member], method: Method) -> Ensemble:
    """An ensemble that looks at no true class."""
    tests = {member.name: member.test for member in members}
    fitted = method.fit(probabilities_of(tests), members[0].test)
    inner, problem = None, ""
    try:
        tables = inner_tables(members)
        inner = ensemble_table(tables, fitted.predict(probabilities_of(tables)))
    except (FileNotFoundError, ValueError) as error:
        problem = str(error)
    test = ensemble_table(tests, fitted.predict(probabilities_of(tests)))
    return Ensemble(tuple(members), method, combined_selection(members), fitted, test, inner, None, problem)


def _searched(members: Sequence[Member], method: Method, selection: str) -> Ensemble:
    """An ensemble that is fitted to true classes."""
    tests = {member.name: member.test for member in members}
    searched = searched_tables(members, selection)
    p, table = probabilities_of(searched), searched[members[0].name]
    where = "the inner split" if selection == "inner" else f"the reported split itself ({selection})"
    print(f"{method.describe()}: looks at {len(table)} clips of {where}", flush=True)
    with progress("search, and again without each fold's clips", FOLDS + 1, transient=True) as advance:
        fitted = method.fit(p, table)
        advance(1)
        test = ensemble_table(tests, fitted.predict(probabilities_of(tests)))
        if selection != "inner":
            return Ensemble(tuple(members), method, selection, fitted, test, test, None, "")
        others = cross_fitted(method, p, table, lambda done: advance(1 + done))
    inner = None if others is None else ensemble_table(searched, others)
    problem = "the inner clips are of one film or subject, or no two of one emotion: no folds over these"
    on_searched = ensemble_table(searched, fitted.predict(p))
    return Ensemble(
        tuple(members), method, selection, fitted, test, inner, on_searched, "" if inner is not None else problem
    )
