"""Opens a WebSocket with the package websockets and sends messages that have to come back.

Arguments: URL, file with the roots to trust, IP address and port to connect to instead of the URL's.
Prints the sizes of the messages that came back as they were, as JSON.
"""

import json
import random
import socket
import ssl
import sys

from websockets.sync.client import connect

url, roots, host, port = sys.argv[1:]
context = ssl.create_default_context(cafile=roots)
messages = ["", "marco", b"\x00\xff", "ü" * 70_000, random.Random(1).randbytes(3_000_000)]
echoed = []
stream = socket.create_connection((host, int(port)))
with connect(url, ssl=context, sock=stream, max_size=None, proxy=None) as connection:
    for message in messages:
        connection.send(message)
        if connection.recv(timeout=60) == message:
            echoed.append(len(message))
    if not connection.ping().wait(60):
        sys.exit("no pong")
print(json.dumps(echoed))
