#!/usr/bin/env python3
"""Passes bytes on between connections to PORT and ADDRESS, and does nothing else: relay.py PORT ADDRESS.

What stands between a client and Kubernetes, as a server of ours does, cannot be faster than this on the same machine.
"""

import contextlib
import socket
import sys
import threading

SIZE = 256 * 1024


def pump(source, sink):
    buffer = memoryview(bytearray(SIZE))
    while length := source.recv_into(buffer):
        sink.sendall(buffer[:length])
    # The other end may be gone already.
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


host, port = sys.argv[2].rsplit(":", 1)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = listener.accept()
    server = socket.create_connection((host, int(port)))
    for connection in (client, server):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for pair in [(client, server), (server, client)]:
        threading.Thread(target=pump, args=pair, daemon=True).start()
