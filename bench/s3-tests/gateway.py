"""A gateway with six nodes in one process, and access keys for everyone that the suite plays."""

import json
import secrets
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

START_SECONDS = 60
# The callers that the suite knows, by the section of its configuration.
CALLERS = ["s3 main", "s3 alt", "s3 tenant", "iam", "iam root", "iam alt root"]
# The named keys that the suite encrypts under, by their names in its configuration.
KMS_KEYS = {"kms_keyid": "testkey-1", "kms_keyid2": "testkey-2"}
VERBS = ["read", "list", "write", "delete", "admin"]
# How long the lifecycle worker takes a day to be; the suite waits for several.
DAY_SECONDS = 3
GATEWAY_TOML = f"""listen = "127.0.0.1:0"
kms_keys = {json.dumps(list(KMS_KEYS.values()))}
lifecycle_interval_seconds = 1
lifecycle_day_seconds = {DAY_SECONDS}
"""


class GatewayError(Exception):
    """The gateway did not start; the text says why."""


def caller_name(section, worker):
    return f"{section.replace(' ', '-')}-{worker}"


def new_keys(workers):
    """Key pairs: for each worker and caller, since a caller's list of buckets must be its own."""
    return {
        (worker, section): (secrets.token_hex(10), secrets.token_urlsafe(30))
        for worker in workers
        for section in CALLERS
    }


def keys_toml(keys):
    """`keys.toml` with a root key first, as the gateway's own, then the callers'."""
    lines = [key_toml("root", secrets.token_hex(10), secrets.token_urlsafe(30), owned=False)]
    for (worker, section), (access, secret) in keys.items():
        lines.append(key_toml(caller_name(section, worker), access, secret, owned=True))
    return "\n".join(lines)


def key_toml(name, access, secret, owned):
    """A key that may do everything: everywhere, or with the buckets that its holder makes."""
    verbs = ", ".join(f'"{verb}"' for verb in VERBS)
    return (
        f'[[key]]\nname = "{name}"\naccess_key = "{access}"\nsecret_key = "{secret}"\n'
        f"[[key.grants]]\nverbs = [{verbs}]\nowned = {str(owned).lower()}\n"
    )


def suite_config(endpoint, keys, worker):
    """The suite's configuration for one of its processes."""
    url = urlsplit(endpoint)
    lines = [
        "[DEFAULT]", f"host = {url.hostname}", f"port = {url.port}",
        f"is_secure = {url.scheme == 'https'}", "ssl_verify = True",
        "[fixtures]", "bucket prefix = s3t-{random}-",
    ]
    for section in CALLERS:
        access, secret = keys[worker, section]
        name = caller_name(section, worker)
        lines += [
            f"[{section}]", f"display_name = {name}", f"user_id = {name}",
            f"email = {name}@example.com", f"access_key = {access}", f"secret_key = {secret}",
        ]
        if section == "s3 main":
            lines += ["api_name = us-east-1", f"lc_debug_interval = {DAY_SECONDS}"]
            lines += [f"{name} = {key}" for name, key in KMS_KEYS.items()]
        if section == "s3 tenant":
            lines += ["tenant = testx"]
    return "\n".join(lines) + "\n"


@contextmanager
def serving(binary, log, keys):
    """Runs a gateway on a free port with a directory of its own; gives its endpoint and CA file."""
    data = Path(tempfile.mkdtemp(prefix="coffer-s3-tests-"))
    try:
        key_file = data / "keys.toml"
        key_file.touch(mode=0o600)
        key_file.write_text(keys_toml(keys), encoding="utf-8")
        (data / "gateway.toml").write_text(GATEWAY_TOML, encoding="utf-8")
        command = [binary, "dev", "--data", data, "--listen", "127.0.0.1:0", "--json"]
        with open(log, "w", encoding="utf-8") as out:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, text=True)
        try:
            line = process.stdout.readline()
            if not line:
                process.wait(START_SECONDS)
                raise GatewayError(f"the gateway did not start; see {log}")
            yield json.loads(line)
        finally:
            process.terminate()
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
    finally:
        shutil.rmtree(data, ignore_errors=True)
