"""What all else here rests on: of many puts of one key that are to create it, exactly one does."""

import threading
from collections import Counter

from botocore.exceptions import ClientError
from server import BUCKET


def test_of_eight_racing_conditional_puts_exactly_one_wins(server):
    clients = [server.client() for _ in range(8)]
    for key in (f"race/{number}" for number in range(20)):
        start = threading.Barrier(len(clients))
        said = {}

        def put(number, client):
            start.wait()
            try:
                client.put_object(Bucket=BUCKET, Key=key, Body=b"%d" % number, IfNoneMatch="*")
                said[number] = 200
            except ClientError as error:
                said[number] = error.response["ResponseMetadata"]["HTTPStatusCode"]

        threads = [threading.Thread(target=put, args=pair) for pair in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Counter(said.values()) == {200: 1, 412: 7}
        (winner,) = (number for number, status in said.items() if status == 200)
        assert clients[0].get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"%d" % winner
