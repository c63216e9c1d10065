"""SecantusDB with one user: PORT FOLDER USER PASSWORD. Users are made while it lets everybody in, as its manual says."""

import sys

from pymongo import MongoClient
from secantus import SecantusDBServer
from secantus.cli import main

port, folder, user, password = sys.argv[1:]
with SecantusDBServer(host="127.0.0.1", port=0, storage_path=folder) as server, MongoClient(server.uri) as client:
    client.admin.command("createUser", user, pwd=password, roles=["root"])
sys.exit(main(["--host", "127.0.0.1", "--port", port, "--storage-path", folder, "--auth"]))
