"""Checks what the other tests rely on: of many concurrent conditional puts of one key, exactly one succeeds."""

import threading
from collections import Counter

RACERS = 8


def exactly_one_wins(put, get, won, lost):
    """Asserts that exactly one of eight clients wins if all put the same key simultaneously. `put(n, key, body)` sends
    the request of client n, and returns its status."""
    for key in (f"race/{number}" for number in range(20)):
        start = threading.Barrier(RACERS)
        statuses = {}

        def race(number):
            start.wait()
            statuses[number] = put(number, key, b"%d" % number)

        threads = [threading.Thread(target=race, args=(number,)) for number in range(RACERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Counter(statuses.values()) == {won: 1, lost: RACERS - 1}
        (winner,) = (number for number, status in statuses.items() if status == won)
        assert get(key) == b"%d" % winner
