"""Combines members into an ensemble: fits the method on the selected split and applies it to both splits."""

from collections.abc import Sequence
from dataclasses import replace

from data_modules.utils.progress import progress
from data_modules.utils.text import counted
from fer_lightning.ensemble.members import (
    EnsembleMember,
    combined_selection,
    ensemble_table,
    inner_tables,
    probabilities_of,
    searched_tables,
)
from fer_lightning.ensemble.methods import FOLDS, Method, cross_fitted
from fer_lightning.ensemble.result import Ensemble
from fer_lightning.ensemble.weight_intervals import weight_intervals


def combine(members: Sequence[EnsembleMember], method: Method, selection: str = "inner") -> Ensemble:
    """Fits a method on the split of the selection, and applies it to the reported and the inner split.

    Args:
        members: the runs to combine.
        method: how they are combined.
        selection: `inner` or `best_on_test`, the split on which a method that uses true classes is fitted.

    Raises:
        FileNotFoundError: the method needs a member's inner table, which does not exist.
        ValueError: the method would be fitted on clips on which a member was trained, or tables do not match.
    """
    return _combine_fitted(members, method, selection) if method.searches else _combine_unfitted(members, method)


def _combine_unfitted(members: Sequence[EnsembleMember], method: Method) -> Ensemble:
    """Combines members with a method that uses no true classes."""
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


def _combine_fitted(members: Sequence[EnsembleMember], method: Method, selection: str) -> Ensemble:
    """Combines members with a method that is fitted to true classes."""
    tests = {member.name: member.test for member in members}
    searched = searched_tables(members, selection)
    p, table = probabilities_of(searched), searched[members[0].name]
    where = "the inner split" if selection == "inner" else f"the reported split itself ({selection})"
    print(f"{method.describe()}: fitted on {counted(len(table), 'clip')} of {where}", flush=True)
    with progress("fitting, and cross-fitting in folds", FOLDS + 1, transient=True) as advance:
        fitted = replace(method.fit(p, table), intervals=weight_intervals(method, p, table))
        advance(1)
        test = ensemble_table(tests, fitted.predict(probabilities_of(tests)))
        if selection != "inner":
            return Ensemble(tuple(members), method, selection, fitted, test, test, None, "")
        held_out = cross_fitted(method, p, table, lambda done: advance(1 + done))
    inner = None if held_out is None else ensemble_table(searched, held_out)
    problem = "the inner clips cannot be divided into folds: they are of one film or subject, or no two of one emotion"
    on_searched = ensemble_table(searched, fitted.predict(p))
    return Ensemble(
        tuple(members), method, selection, fitted, test, inner, on_searched, "" if inner is not None else problem
    )
