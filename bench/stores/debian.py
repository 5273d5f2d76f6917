"""Packages of Debian, unpacked into a directory of their own: nothing is installed on the machine."""

import os
import subprocess

from .store import StoreError


def unpack(folder, *packages):
    """Fetches packages with all that they need and the machine lacks; returns the root they lie below."""
    root, archives = folder / "root", folder / "archives"
    if root.exists():
        return root
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    fetch = ["apt-get", "-qq", "-y", "--no-install-recommends", "--download-only",
             "-o", f"Dir::Cache::archives={archives}", "install", *packages]
    done = subprocess.run(fetch, capture_output=True, text=True)
    if done.returncode:
        raise StoreError(f"apt-get can't fetch {', '.join(packages)} (it needs root): {done.stderr.strip()}")
    # Unpacked under another name first, so that a root is whole or isn't there.
    making = folder / "making"
    making.mkdir(exist_ok=True)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg", "-x", archive, making], check=True)
    making.rename(root)
    return root


def environment(root):
    """Variables by which programs below `root` find their libraries and modules of Python."""
    libraries = root / "usr/lib/x86_64-linux-gnu"
    return {
        **os.environ,
        "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'ceph'}:{root / 'lib/x86_64-linux-gnu'}",
        "PYTHONPATH": str(root / "usr/lib/python3/dist-packages"),
        "PATH": f"{root / 'usr/bin'}:{root / 'usr/sbin'}:{os.environ['PATH']}",
    }
