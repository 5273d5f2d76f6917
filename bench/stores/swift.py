"""OpenStack Swift with its S3 middleware: six devices, an erasure-coded policy for objects."""

import base64
import getpass
import secrets

from . import debian
from .store import Store, Way, free_ports

DEVICES = 6
K, M = 4, 2
USER = "bench:bench"

# The name of this file is fixed in its code.
LAUNCH = """\
import runpy, sys
from swift.common import utils
utils.SWIFT_CONF_FILE = sys.argv[1]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Says which devices hold what.
RINGS = """\
import sys
from swift.common.ring import RingBuilder
where, devices = sys.argv[1], int(sys.argv[2])
for ring in sys.argv[3:]:
    kind, copies, port = ring.split(":")
    builder = RingBuilder(8, int(copies), 0)
    for number in range(devices):
        at = {"ip": "127.0.0.1", "port": int(port), "replication_ip": "127.0.0.1",
              "replication_port": int(port)}
        builder.add_dev({"id": number, "region": 1, "zone": number, "device": f"d{number}",
                         "weight": 1.0, "meta": "", **at})
    builder.rebalance()
    builder.get_ring().save(f"{where}/{kind}.ring.gz")
"""

CLUSTER = """\
[swift-hash]
swift_hash_path_suffix = {suffix}
[storage-policy:0]
name = coded
default = yes
policy_type = erasure_coding
ec_type = {coding}
ec_num_data_fragments = {k}
ec_num_parity_fragments = {m}
"""

COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {where}
devices = {where}/devices
mount_check = false
log_level = ERROR
"""

SERVER = """\
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

FILTERS = ["catch_errors", "gatekeeper", "healthcheck", "cache", "listing_formats", "s3api", "tempauth",
           "bulk", "slo", "dlo", "keymaster", "encryption"]

PROXY = """\
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""

SETTINGS = {
    "cache": "use = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{memcached}",
    "s3api": "use = egg:swift#s3api\nauth_pipeline_check = false",
    "keymaster": "use = egg:swift#keymaster\nencryption_root_secret = {master}",
    "tempauth": "use = egg:swift#tempauth\nuser_bench_bench = {secret} .admin",
}


def install(folder):
    """Unpacks Debian's packages; returns the root they lie below."""
    return debian.unpack(folder / "swift", "swift-proxy", "swift-object", "swift-container", "swift-account",
                         "memcached", "libisal2")


class Swift(Store):
    """One server of each kind, without the background services."""

    name = "Swift"
    redundancy = f"{K}+{M}; listings: 3 copies"
    durable = "5 of 6 shards, fsynced"
    encryption = "AES-256-CTR at rest; none to clients"

    def __init__(self, where, root):
        super().__init__(where)
        self.root, self.env = root, debian.environment(root)
        self.version = self.python("-c", "import swift; print(swift.__version__)").strip()
        known = self.python("-c", "from pyeclib.ec_iface import VALID_EC_TYPES as t; print(*t)").split()
        self.coding = next(kind for kind in ["isa_l_rs_vand", "liberasurecode_rs_vand"] if kind in known)
        self.flags = f"proxy with s3api, tempauth, encryption, memcached; {DEVICES} devices, {self.coding} {K}+{M}"

    def python(self, *arguments):
        return self.ask("/usr/bin/python3", *arguments, env=self.env)

    def begin(self):
        (self.where / "devices").mkdir()
        for number in range(DEVICES):
            (self.where / "devices" / f"d{number}").mkdir()
        conf, secret = self.where / "swift.conf", secrets.token_hex(20)
        conf.write_text(CLUSTER.format(suffix=secrets.token_hex(8), coding=self.coding, k=K, m=M))
        first = free_ports(5)
        ports = dict(zip(["account", "container", "object", "proxy", "memcached"], range(first, first + 5)))
        self.start(self.root / "usr/bin/memcached", "-u", getpass.getuser(), "-l", "127.0.0.1",
                   "-p", str(ports["memcached"]), env=self.env)
        copies = {"account": 3, "container": 3, "object": K + M}
        rings = [f"{kind}:{count}:{ports[kind]}" for kind, count in copies.items()]
        self.python("-c", RINGS, self.where, str(DEVICES), *rings)
        for kind in copies:
            self.serve(conf, kind, ports[kind], SERVER.format(kind=kind))
        master = base64.b64encode(secrets.token_bytes(32)).decode()
        pipeline = f"[pipeline:main]\npipeline = {' '.join(FILTERS)} proxy-server\n{PROXY}"
        for name in FILTERS:
            settings = SETTINGS.get(name, f"use = egg:swift#{name}")
            settings = settings.format(memcached=ports["memcached"], secret=secret, master=master)
            pipeline += f"[filter:{name}]\n{settings}\n"
        self.serve(conf, "proxy", ports["proxy"], pipeline)
        self.endpoint, self.secret = f"http://127.0.0.1:{ports['proxy']}", secret

    def serve(self, conf, kind, port, rest):
        config = self.where / f"{kind}-server.conf"
        common = COMMON.format(port=port, user=getpass.getuser(), where=self.where)
        config.write_text(common + rest)
        self.start("/usr/bin/python3", "-c", LAUNCH, conf, self.root / f"usr/bin/swift-{kind}-server", config,
                   "-v", env=self.env)
        self.until_http(port)

    def ways(self):
        reach = ["--endpoint", self.endpoint, "--access-key", USER, "--secret-key", self.secret,
                 "--region", "us-east-1"]
        return [Way(self.name, [*reach, "--hash-bodies", "false"], "HTTP/1.1, plain, bodies unsigned")]
