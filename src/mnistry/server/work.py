"""Work that would block the event loop, done by threads, and no more of it than can be done."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from starlette.exceptions import HTTPException

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Desk(Generic[Item, Answer]):
    """Threads that work off what is asked: each takes its share of what waits, up to a number.

    Nothing waits for others to come; but while threads are busy some do, and several take less time
    together than one by one.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Answer | Exception]],
        *,
        threads: int,
        at_a_time: int,
        max_waiting: int,
        seconds: float,
    ) -> None:
        """Nothing is started yet.

        Args:
            work: Gives an answer, or an error, for each of some items.
            threads: That work.
            at_a_time: Items that one takes at a time.
            max_waiting: Items that are worked on or wait; more are refused.
            seconds: That one may take.
        """
        self._work, self._at_a_time = work, at_a_time
        self._max_waiting, self._seconds = max_waiting, seconds
        self._threads, self._count = ThreadPoolExecutor(threads), threads
        self._idle = threads
        self._lock = threading.Lock()  # of the queue and the number of idle threads
        self._queue: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._waiting = 0

    async def ask(self, item: Item) -> Answer:
        """Have an item worked on.

        Raises:
            HTTPException: 503 where too much is waiting, or it takes too long.
            Exception: Whatever the work found wrong.
        """
        if self._waiting >= self._max_waiting:
            raise HTTPException(
                503,
                f"{self._waiting} requests are being worked on, which is all that this server "
                "takes; ask again in a second",
                {"retry-after": "1"},
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting += 1
        with self._lock:
            self._queue.append((item, future))
            is_needed, self._idle = self._idle > 0, max(0, self._idle - 1)
        if is_needed:
            self._threads.submit(self._work_off, loop)
        try:
            return await asyncio.wait_for(future, self._seconds)  # or it is given up
        except TimeoutError:
            raise HTTPException(
                503,
                f"this took more than {self._seconds:g} seconds; send a smaller image or fewer",
                {"retry-after": "10"},
            ) from None

    def _work_off(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: until nothing waits."""
        while True:
            with self._lock:
                share = -(-len(self._queue) // self._count)  # the others get theirs
                count = min(self._at_a_time, share)
                some = [self._queue.popleft() for _ in range(count)]
                self._idle += not some
            if not some:
                return
            awaited = [(item, future) for item, future in some if not future.cancelled()]
            answers: Sequence[Answer | Exception]
            try:
                answers = self._work([item for item, _ in awaited])
            except Exception as error:  # a bug: it is everybody's
                answers = [error] * len(awaited)
            loop.call_soon_threadsafe(
                self._answer, len(some), [future for _, future in awaited], answers
            )

    def _answer(
        self,
        count: int,
        futures: Sequence["asyncio.Future[Answer]"],
        answers: Sequence[Answer | Exception],
    ) -> None:
        self._waiting -= count
        for future, answer in zip(futures, answers, strict=True):
            if future.done():  # nobody waits any more
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def close(self) -> None:
        """Wait for what is being done, drop what waits, and end the threads."""
        with self._lock:
            self._queue.clear()
        self._threads.shutdown()


def call_all(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """The work of a desk whose items are calls: what each gives, or the error that it raises."""
    return [_called(call) for call in calls]


def _called(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        return error
