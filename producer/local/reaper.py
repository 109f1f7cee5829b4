"""Runs one server and ends it when its owner is gone, however that went.

`python -I reaper.py LOCK_FD GRACE_S COMMAND...`; standard input is a pipe whose other end the
owner holds. Its end of file says that the owner closed it, crashed or was killed: the server gets
SIGTERM, and after the grace SIGKILL. Run as a script: it imports nothing of ours, so it is up at
once, and it works where there is no parent-death signal (macOS).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main(lock_fd: int, grace_s: float, command: list[str]) -> int:
    """Run *command* until it ends or the owner does; return its exit code.

    The server inherits the lock *lock_fd* as well: whatever of us is still alive, nobody else
    opens its data. A negative one stands for no lock.
    """
    server = subprocess.Popen(  # noqa: S603 - the owner's command
        command, stdin=subprocess.DEVNULL, pass_fds=(lock_fd,) if lock_fd >= 0 else ()
    )

    def stop(*_: object) -> None:
        server.terminate()
        timer = threading.Timer(grace_s, server.kill)
        timer.daemon = True
        timer.start()

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    code = server.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
