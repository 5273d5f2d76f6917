"""Garage: three nodes, three copies of everything."""

import base64
import os
import secrets
import subprocess

from .store import Store, StoreError, Way, free_ports

VERSION = "2.5.0"
COPIES = 3
BUCKET = "coffer-bench"

NODE = """\
metadata_dir = "{where}/meta"
data_dir = "{where}/data"
db_engine = "lmdb"
replication_factor = {copies}
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secret}"
{settings}
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:{s3}"
root_domain = ".s3.localhost"
"""


def install(folder):
    """Builds it from source, with the standard registry of crates; returns the program."""
    program = folder / "bin" / "garage"
    if not program.exists():
        subprocess.run(
            ["cargo", "install", "garage", "--version", VERSION, "--locked", "--no-default-features",
             "--features", "lmdb,bundled-libs", "--root", folder],
            check=True,
        )
    return program


class Garage(Store):
    """With what is acknowledged fsynced, or as it comes."""

    redundancy = f"{COPIES} copies"
    encryption = "at rest with the caller's key (SSE-C), where said; between nodes; none to clients"

    def __init__(self, where, program, fsync):
        super().__init__(where)
        self.program = program
        # As in "garage cargo:2.5.0 [features: ...]".
        self.version = self.ask(program, "--version").split()[1].removeprefix("cargo:")
        if fsync:
            self.name = "Garage"
            self.durable = "data and metadata on 2 of 3 nodes, fsynced"
            # Compression stays on: writes cost the same without it, and reads more (as measured).
            settings = ["metadata_fsync = true", "data_fsync = true"]
        else:
            self.name = "Garage, as it comes"
            self.durable = "nothing is fsynced: on 2 of 3 nodes, in memory"
            settings = []
        self.settings = settings
        self.flags = "; ".join(['db_engine = "lmdb"', f"replication_factor = {COPIES}", *settings])

    def begin(self):
        ports, secret = free_ports(2 * COPIES), secrets.token_hex(32)
        nodes = []
        for number in range(COPIES):
            where, config = self.where / f"node-{number}", self.where / f"node-{number}.toml"
            rpc, s3 = ports + 2 * number, ports + 2 * number + 1
            config.write_text(NODE.format(where=where, copies=COPIES, rpc=rpc, s3=s3, secret=secret,
                                          settings="\n".join(self.settings)))
            self.start(self.program, "-c", config, "server", env={**os.environ, "RUST_LOG": "warn"})
            nodes.append((config, rpc, s3))
        self.admin = [self.program, "-c", nodes[0][0]]
        self.endpoint = f"http://127.0.0.1:{nodes[0][2]}"
        ids = [self.until(lambda: self.id_of(config)) for config, _, _ in nodes]
        for name, (_, rpc, _) in zip(ids[1:], nodes[1:]):
            self.until(lambda: self.succeeds("node", "connect", f"{name}@127.0.0.1:{rpc}"))
        for name in ids:
            self.ask(*self.admin, "layout", "assign", name, "-z", "here", "-c", "100G")
        self.ask(*self.admin, "layout", "apply", "--version", "1")
        self.key, self.secret = f"GK{secrets.token_hex(12)}", secrets.token_hex(32)
        self.until(lambda: self.succeeds("key", "import", "--yes", self.key, self.secret))
        self.ask(*self.admin, "bucket", "create", BUCKET)
        self.ask(*self.admin, "bucket", "allow", "--read", "--write", "--owner", BUCKET, "--key", self.key)
        self.until_http(nodes[0][2])

    def id_of(self, config):
        try:
            return self.ask(self.program, "-c", config, "node", "id", "-q").split("@")[0].strip()
        except StoreError:
            return None

    def succeeds(self, *command):
        """Whether a command succeeds: some don't until the nodes know each other."""
        try:
            self.ask(*self.admin, *command)
        except StoreError:
            return False
        return True

    def ways(self):
        reach = ["--endpoint", self.endpoint, "--access-key", self.key, "--secret-key", self.secret,
                 "--region", "garage", "--bucket", BUCKET, "--hash-bodies"]
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        return [
            Way(f"{self.name}, encrypted", [*reach, "false", "--sse-customer-key", key],
                "HTTP/1.1, plain, bodies unsigned, SSE-C", prefix="encrypted/"),
            Way(self.name, [*reach, "false"], "HTTP/1.1, plain, bodies unsigned"),
            Way(f"{self.name}, signed bodies", [*reach, "true"], "HTTP/1.1, plain, bodies signed", ("put",)),
        ]
