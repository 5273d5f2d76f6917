"""Ceph's object gateway over six OSDs in files, with an erasure-coded pool for data."""

import base64
import secrets
import uuid

from . import debian
from .store import Store, Way, free_ports

OSDS = 6
K, M = 4, 2

CONFIG = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon}]
run dir = {where}
admin socket = {where}/$name.sock
pid file = {where}/$name.pid
log file = {where}/$name.log
keyring = {where}/keyring
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
plugin dir = {libraries}/ceph
erasure code dir = {libraries}/ceph/erasure-code
osd class dir = {libraries}/rados-classes
mon data = {where}/mon
mon data avail crit = 1
osd data = {where}/osd-$id
osd objectstore = bluestore
bluestore block size = 21474836480
osd memory target = 1073741824
osd crush chooseleaf type = 0
osd pool default size = 3
osd pool default min size = 2
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
rgw frontends = beast endpoint=127.0.0.1:{rgw}{encrypted}
rgw data = {where}/rgw
"""


def install(folder):
    """Unpacks Debian's packages; returns the root they lie below."""
    return debian.unpack(folder / "ceph", "radosgw", "ceph-osd", "ceph-mon", "ceph-mgr", "ceph-common")


class Ceph(Store):
    """A monitor, OSDs and a gateway. There is no manager, which takes no part in reads and writes."""

    redundancy = f"{K}+{M}; index: 3 copies"
    durable = "all shards, on 6 OSDs, fsynced"
    flags = f"1 mon, {OSDS} bluestore OSDs in files, plugin=isa k={K} m={M}, auth none, beast"

    def __init__(self, where, root, encrypted):
        super().__init__(where)
        self.encrypted = encrypted
        self.name = "Ceph RGW, encrypted" if encrypted else "Ceph RGW"
        self.encryption = "AES-256-CBC at rest, TLS to clients; none between processes" if encrypted else "none"
        self.root, self.env = root, debian.environment(root)
        self.config = where / "ceph.conf"
        self.version = self.tool("radosgw", "--version").split()[2]

    def tool(self, name, *arguments):
        return self.ask(self.root / "usr/bin" / name, *arguments, env=self.env)

    def ceph(self, *arguments):
        return self.ask("/usr/bin/python3", self.root / "usr/bin/ceph", "-c", self.config,
                        "--connect-timeout", "30", *arguments, env=self.env)

    def daemon(self, name, *arguments):
        self.start(self.root / "usr/bin" / name, "-c", self.config, "-f", *arguments, env=self.env)

    def begin(self):
        mon, rgw = free_ports(1), free_ports(3) + 1
        fsid, libraries = uuid.uuid4(), self.root / "usr/lib/x86_64-linux-gnu"
        encrypted = self.encrypting(rgw + 1) if self.encrypted else ""
        self.config.write_text(CONFIG.format(fsid=fsid, where=self.where, libraries=libraries, mon=mon, rgw=rgw,
                                             encrypted=encrypted))
        keyring, monmap = self.where / "keyring", self.where / "monmap"
        for name in ["mon.", "client.admin", "client.rgw"]:
            create = [] if keyring.exists() else ["--create-keyring"]
            self.tool("ceph-authtool", keyring, *create, "--gen-key", "-n", name, "--cap", "mon", "allow *",
                      "--cap", "osd", "allow *")
        self.tool("monmaptool", "--create", "--fsid", str(fsid), "--addv", "a", f"[v2:127.0.0.1:{mon}]", monmap)
        self.tool("ceph-mon", "-c", self.config, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self.daemon("ceph-mon", "-i", "a")
        for number in range(OSDS):
            name, identity = str(number), str(uuid.uuid4())
            self.ceph("osd", "new", identity, name)
            (self.where / f"osd-{name}").mkdir()
            self.tool("ceph-osd", "-c", self.config, "--mkfs", "-i", name, "--osd-uuid", identity)
            self.daemon("ceph-osd", "-i", name)
        self.until(lambda: f"{OSDS} up" in self.ceph("osd", "stat"))
        self.ceph("osd", "erasure-code-profile", "set", "bench", "plugin=isa", f"k={K}", f"m={M}",
                  "crush-failure-domain=osd")
        data = "default.rgw.buckets.data"
        self.ceph("osd", "pool", "create", data, "32", "32", "erasure", "bench")
        self.ceph("osd", "pool", "application", "enable", data, "rgw")
        (self.where / "rgw").mkdir()
        self.daemon("radosgw", "-n", "client.rgw")
        self.endpoint = f"https://127.0.0.1:{rgw + 1}" if self.encrypted else f"http://127.0.0.1:{rgw}"
        self.until_http(rgw)
        self.key, self.secret = secrets.token_hex(10), secrets.token_hex(20)
        self.tool("radosgw-admin", "-c", self.config, "user", "create", "--uid", "bench",
                  "--display-name", "bench", "--access-key", self.key, "--secret-key", self.secret)

    def encrypting(self, port):
        """Settings with which all that is stored is encrypted with one key, and served over TLS."""
        certificate, key = self.certificate()
        master = base64.b64encode(secrets.token_bytes(32)).decode()
        return (f" ssl_endpoint=127.0.0.1:{port} ssl_certificate={certificate} ssl_private_key={key}\n"
                f"rgw crypt default encryption key = {master}\nrgw crypt require ssl = false")

    def ways(self):
        reach = ["--endpoint", self.endpoint, "--access-key", self.key, "--secret-key", self.secret,
                 "--region", "default"]
        protocol, trust = ("TLS", ["--insecure"]) if self.encrypted else ("plain", [])
        return [Way(self.name, [*reach, *trust, "--hash-bodies", "false"],
                    f"HTTP/1.1, {protocol}, bodies unsigned")]
