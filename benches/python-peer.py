"""A chat server as written in courses: one thread per client, and sendall to everyone under one lock.

Unlike most of them, it sets TCP_NODELAY. Otherwise a message may wait 40 ms until the previous one is acknowledged.
"""

import socket
import sys
import threading

clients = {}
lock = threading.Lock()


def serve(client):
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with client, client.makefile("rb") as lines:
        name = lines.readline().strip()
        with lock:
            clients[client] = name
            client.sendall(b"* welcome\n")
        for line in lines:
            message = name + b": " + line
            with lock:
                for other in clients:
                    if other is not client:
                        other.sendall(message)
        with lock:
            del clients[client]


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
while True:
    threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
