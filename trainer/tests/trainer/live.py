"""Runs `coffer-train --live` under a pseudo-terminal, and checks what the terminal gets and what is
left of it. Usage: live.py PROGRAM CASE"""

import fcntl
import os
import pty
import re
import select
import pathlib
import signal
import struct
import subprocess
import sys
import termios
import time

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
SHOW_CURSOR = b"\x1b[?25h"
# When the program is taken to hang. It takes a hundredth of that.
PATIENCE = 300
# What is typed once the run has begun.
KEYS = {"q": b"q", "ctrl-c": b"\x03"}

program, case = sys.argv[1:]
here = os.getcwd()
command = [program, "linear", "--store", f"file://{here}/store", "--live"]
command += ["--pack", "--synthetic", "--window", "1024", "--shard-samples", "1024"]
if case in KEYS:
    # It would go on for ever.
    command += ["--epochs", "1000000"]
elif case == "error":
    command += ["--epochs", "1", "--learning-rate", "1e20"]
elif case == "warnings":
    # A shard is damaged; its samples are passed over, and the client library warns of it.
    place = pathlib.Path(here, "store", "mnist")
    packed = ["pack", "--to", f"file://{place}", "--synthetic", "--shard-samples", "1024", "-q"]
    subprocess.run([program, *packed], check=True)
    shard = min(place.rglob("*train*.tar"))
    shard.write_bytes(b"\1" * shard.stat().st_size)
    command += ["--epochs", "2", "--on-corrupt", "skip"]
else:
    command += ["--epochs", "2"]

master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.close(master)
    # A session of its own, with this terminal: Ctrl-C and signals of the terminal reach it alone.
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(slave, stream)
    os.close(slave)
    os.execv(program, command)


class Screen:
    """What a terminal of 30 lines of 100 columns shows, as far as the view makes use of it."""

    SEQUENCE = re.compile(rb"\x1b\[(\d+);(\d+)H|\x1b\[[0-9;?]*[a-zA-Z]|\r|\n|([^\x1b\r\n]+)")

    def __init__(self):
        self.lines = [[" "] * 100 for _ in range(30)]

    def draw(self, sent):
        line, column = 0, 0
        for found in self.SEQUENCE.finditer(sent):
            if found[1]:
                line, column = int(found[1]) - 1, int(found[2]) - 1
            for letter in (found[3] or b"").decode(errors="replace"):
                self.lines[line][min(column, 99)] = letter
                column += 1
        return self

    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.lines)


deadline = time.monotonic() + PATIENCE
seen, asked, status = b"", False, None
while status is None or select.select([master], [], [], 0)[0]:
    if time.monotonic() > deadline:
        os.kill(child, signal.SIGKILL)
        sys.exit(f"{case}: hangs; seen last: {seen[-2000:]!r}")
    if select.select([master], [], [], 0.1)[0]:
        seen += os.read(master, 65536)
    # Once a loss has been drawn, training has begun.
    if case in KEYS and not asked and re.search(r"loss +\d+\.\d{2}", Screen().draw(seen).text()):
        os.write(master, KEYS[case])
        asked = True
    if status is None:
        done, status_now = os.waitpid(child, os.WNOHANG)
        status = status_now if done else None

code = os.waitstatus_to_exitcode(status)


def check(right, what):
    if not right:
        shown = Screen().draw(seen.split(LEAVE)[0]).text()
        sys.exit(f"{case}: {what}; it ended with {code}; shown:\n{shown}\nlast: {seen[-1000:]!r}")


check(seen.count(ENTER) == 1 and seen.count(LEAVE) == 1, "the screen is not taken and given back once")
drawn, after = seen[seen.index(ENTER):].split(LEAVE)
shown = Screen().draw(drawn).text()
check("loss per image" in shown and "linear at file://" in shown, "nothing is drawn")
check("test loss" not in shown, "results are on the screen, not after it")
# A run that fails at once may do so before it has figures of its speed.
check(case == "error" or "waiting for data" in shown, "no share of waiting is on the screen")
check(drawn.rstrip().endswith(SHOW_CURSOR), "the cursor is not shown again")
check(b"\x1b[" not in after, "something is drawn on the terminal that was given back")
check(termios.tcgetattr(slave) == before, "the terminal's modes are not those from before")
after = after.decode()
if case == "to-the-end":
    check(code == 0, "it failed")
    check(after.count("epoch ") >= 2 and "test loss" in after, "results are missing at the end")
elif case == "warnings":
    check(code == 0, "it failed")
    check("skipping 1024 samples" in shown, "the warning is not on the screen")
    check(re.search("warning: skipping 1024 samples: .*BLAKE3", after), "it is not told afterwards")
elif case == "error":
    check(code == 1, "it did not fail")
    check("lower the learning rate" in after, "the error is not told")
else:
    check(code == 130, "it did not end as by SIGINT")
    check("with a checkpoint" in after and "the same command goes on" in after, "its end is not told")
print(f"{case}: passed")
