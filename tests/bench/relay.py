#!/usr/bin/env python3
"""Forwards bytes between connections to PORT and ADDRESS: relay.py PORT ADDRESS.

A server between a client and Kubernetes cannot be faster than this on the same machine.
"""

import contextlib
import socket
import sys
import threading

SIZE = 256 * 1024


def forward(source, sink):
    buffer = memoryview(bytearray(SIZE))
    while length := source.recv_into(buffer):
        sink.sendall(buffer[:length])
    # The other end may have closed the connection.
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
        threading.Thread(target=forward, args=pair, daemon=True).start()
