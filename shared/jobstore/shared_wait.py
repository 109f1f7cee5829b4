"""Let threads that wait for the same thing share one call."""

import threading
from collections.abc import Callable
from concurrent.futures import Future


class SharedWait:
    """Makes one call for all threads that ask before it begins; later ones share the next call.

    Thread-safe. A thread never gets the answer of a call that began before it asked.
    """

    def __init__(self, most: int) -> None:
        """Allow *most* calls at once."""
        self._running = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._next: Future[bool] | None = None

    def ask(self, call: Callable[[], bool]) -> bool:
        """Return the answer of *call*, or of the call of a thread that waits for the same thing.

        Raises:
            BaseException: What the call raises, in all threads that share it.
        """
        with self._lock:
            leads = self._next is None
            answer = self._next = self._next or Future()
        if leads:
            with self._running:
                with self._lock:
                    self._next = None
                try:
                    answer.set_result(call())
                except BaseException as err:  # noqa: BLE001 - raised below, in each thread
                    answer.set_exception(err)
        return answer.result()
