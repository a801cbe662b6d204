"""tab.py TYPED WANTED: types into psql on a terminal, presses Tab, and passes if psql completed it, or listed it among what it could be.

readline lists what is possible at the first Tab: several names may begin with what was typed, and one of them may be the beginning of others.
"""
import os
import pty
import re
import select
import signal
import sys
import tempfile
import time

typed, wanted = sys.argv[1:3]
settings = tempfile.NamedTemporaryFile("w", suffix=".inputrc")
settings.write("set show-all-if-ambiguous on\nset bell-style none\nset enable-bracketed-paste off\n")
settings.flush()
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="dumb", INPUTRC=settings.name, PAGER="cat")
    os.execvp("psql", ["psql", "-X"])


def read_until(is_enough, limit):
    """What the terminal shows until it is enough, or that many seconds went by."""
    text, end = "", time.monotonic() + limit
    while time.monotonic() < end and not is_enough(text):
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                text += os.read(terminal, 65536).decode(errors="replace")
            except OSError:
                break
    return re.sub("[\r\a]", "", text)


def is_shown(text):
    return re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", text.replace(typed, "", 1) if wanted == typed else text) is not None


read_until(lambda text: "=" in text and text.rstrip().endswith((">", "#")), 20)
os.write(terminal, typed.encode() + b"\t")
shown = read_until(lambda text: is_shown(text), 10)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
print(repr(shown[-300:]))
sys.exit(0 if is_shown(shown) else 1)
