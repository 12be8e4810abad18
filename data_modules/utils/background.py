"""Calls a function while other work goes on."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """A call in a thread of its own, which ends with the process.

    Args:
        function: what is called.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        self._future = Future[Result]()
        Thread(target=self._run, args=(function,), daemon=True).start()

    def _run(self, function: Callable[[], Result]) -> None:
        try:
            self._future.set_result(function())
        except BaseException as error:  # raised again where the result is asked for
            self._future.set_exception(error)

    def check(self) -> None:
        """Raises the error of a call that has failed; does not wait for one that goes on."""
        if self._future.done():
            self._future.result()

    def result(self) -> Result:
        """Waits for the call and returns its result, or raises its error."""
        return self._future.result()
