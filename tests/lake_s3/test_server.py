"""Checks that the server of these tests supports atomic conditional puts."""

from botocore.exceptions import ClientError
from racing import RACERS, exactly_one_wins
from server import BUCKET


def test_of_eight_racing_conditional_puts_exactly_one_wins(server):
    clients = [server.client() for _ in range(RACERS)]

    def put(number, key, body):
        try:
            clients[number].put_object(Bucket=BUCKET, Key=key, Body=body, IfNoneMatch="*")
            return 200
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]

    exactly_one_wins(put, lambda key: clients[0].get_object(Bucket=BUCKET, Key=key)["Body"].read(), won=200, lost=412)
