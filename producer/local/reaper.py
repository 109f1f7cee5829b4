"""Run one server and stop it when its owner ends, even by `kill -9`.

`python -I reaper.py LOCK_FD GRACE_S COMMAND...`; standard input is a pipe that the owner holds
open. End of file means that the owner closed it, crashed or was killed: the server gets SIGTERM,
and SIGKILL after the grace period; after SIGUSR1 it gets SIGKILL at once.
This is a script without imports from this project, so that it starts fast; it needs no
parent-death signal, which macOS does not have.
"""

import os
import signal
import subprocess
import sys
import threading


def main(lock_fd: int, grace_s: float, command: list[str]) -> int:
    """Run *command* until it or the owner ends; return its exit code.

    The server inherits the lock *lock_fd*, so that its data stay locked while any of these
    processes is alive. A negative number means no lock.
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
    signal.signal(signal.SIGUSR1, lambda *_: server.kill())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    code = server.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
