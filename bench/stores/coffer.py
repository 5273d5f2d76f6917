"""Coffer, as one process and as several."""

import json
import os
import pathlib
import subprocess

from .store import Store, StoreError, Way, free_ports

REPO = pathlib.Path(__file__).resolve().parents[2]
NODES = 6
PROTOCOLS = {"1.1": "HTTP/1.1, TLS", "2": "HTTP/2, TLS", "3": "HTTP/3"}


def programs(given, *packages):
    """The directory with Coffer's release programs: the given one, or where they were just built."""
    if given:
        return pathlib.Path(given)
    build = ["cargo", "build", "--release", "--locked"]
    for package in packages:
        build += ["-p", package]
    subprocess.run(build, cwd=REPO, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target")) / "release"


def commit():
    """Which commit is checked out, if that is known."""
    command = ["git", "-C", REPO, "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown commit"


class Coffer(Store):
    """What both forms have in common."""

    redundancy = "4+2"
    durable = "shards on 5 of 6 nodes, the catalog's log, its journal: all fsynced"
    encryption = "AES-256-GCM at rest and between processes; TLS 1.3 to clients"

    def __init__(self, where, bins, http=("1.1",), built_from=None):
        super().__init__(where)
        self.bins, self.http = bins, http
        version = self.ask(bins / "coffer-gateway", "--version").split()[-1]
        self.version = f"{version} ({built_from})" if built_from else version

    def serve(self, *command):
        """Starts a gateway and learns where it serves."""
        serving = self.where / "serving.json"
        gateway = self.bins / "coffer-gateway"
        self.start(gateway, *command, "--listen", "127.0.0.1:0", "--json", stdout=serving)
        lines = self.until(lambda: serving.read_text().splitlines())
        self.endpoint = json.loads(lines[0])["endpoint"]

    def ways(self):
        reach = ["--config", self.config, "--endpoint", self.endpoint, "--http"]
        names = {"1.1": self.name}
        return [Way(names.get(version, f"{self.name}, HTTP/{version}"), [*reach, version], PROTOCOLS[version])
                for version in self.http]


class Embedded(Coffer):
    """A gateway and its nodes in one process."""

    name = "Coffer, one process"
    flags = f"coffer-gateway dev --nodes {NODES}"

    def begin(self):
        data = self.where / "data"
        self.serve("dev", "--data", data, "--nodes", str(NODES))
        self.config = next(data.rglob("client.toml"), None)
        if self.config is None:
            raise StoreError(f"the gateway has written no client.toml below {data}")


class Cluster(Coffer):
    """A gateway and its nodes, each a process of its own."""

    name = "Coffer, processes"
    flags = f"coffer-gateway init --nodes {NODES}; coffer-gateway serve, {NODES} x coffer-node"

    def begin(self):
        data, ports = self.where / "data", free_ports(NODES)
        self.ask(self.bins / "coffer-gateway", "init", "--data", data, "--nodes", str(NODES),
                 "--base-port", str(ports))
        for number in range(1, NODES + 1):
            self.start(self.bins / "coffer-node", "--data", data / f"node-{number}")
        self.config = data / "gateway" / "client.toml"
        self.serve("serve", "--data", data / "gateway")
