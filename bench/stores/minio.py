"""MinIO, where its program is at hand: six directories, any two of which may be lost."""

import base64
import os
import secrets

from .store import Store, Way, free_ports

DRIVES = 6


class Minio(Store):
    """One server, with encryption of all objects on."""

    name = "MinIO"
    redundancy = "4+2"
    durable = "as it comes"
    encryption = "AES-256-GCM at rest; none to clients"
    flags = f"EC:2 on {DRIVES} directories, MINIO_KMS_AUTO_ENCRYPTION=on"

    def __init__(self, where, program):
        super().__init__(where)
        self.program = program
        self.version = self.ask(program, "--version").split()[2]

    def begin(self):
        drives = [self.where / f"drive-{number}" for number in range(1, DRIVES + 1)]
        for drive in drives:
            drive.mkdir()
        self.key, self.secret = secrets.token_hex(10), secrets.token_hex(20)
        master = secrets.token_bytes(32)
        env = {
            **os.environ, "MINIO_ROOT_USER": self.key, "MINIO_ROOT_PASSWORD": self.secret,
            "MINIO_STORAGE_CLASS_STANDARD": "EC:2", "MINIO_KMS_AUTO_ENCRYPTION": "on",
            "MINIO_KMS_SECRET_KEY": f"bench:{base64.b64encode(master).decode()}",
            # Or it refuses directories on the system's own disk.
            "MINIO_CI_CD": "1",
        }
        port = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        self.start(self.program, "server", "--quiet", "--address", f"127.0.0.1:{port}", *drives, env=env)
        self.until_http(port)

    def ways(self):
        reach = ["--endpoint", self.endpoint, "--access-key", self.key, "--secret-key", self.secret]
        return [Way(self.name, [*reach, "--hash-bodies", "false"], "HTTP/1.1, plain, bodies unsigned")]
