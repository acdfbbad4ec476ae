"""Runs `dprd` command lines, one after the other, without what POSIX has and Windows has not.

The command lines are a JSON list in the first argument; the exit codes are printed as such a list. It is
taken away after the import of packages that, on Linux, want it; what the standard library itself needs here
to start and end processes stays.
"""

import json
import os
import signal
import socket
import sys

import cv2  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import torch
import torchvision  # noqa: F401

MODULES = ("fcntl", "grp", "posix_ipc", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
OF_OS = (
    *("fork", "forkpty", "memfd_create", "pread", "pwrite", "preadv", "pwritev", "sysconf", "nice"),
    *("getuid", "geteuid", "getgid", "getegid", "getpgid", "setsid", "killpg", "sched_getaffinity"),
    *("chown", "lchown", "mkfifo", "statvfs", "getloadavg", "sync", "fchmod", "posix_fallocate"),
)
OF_SIGNAL = ("SIGHUP", "SIGPIPE", "SIGALRM", "SIGSTOP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "setitimer")
OF_SOCKET = ("send_fds", "recv_fds")
FOLDERS = ("/proc", "/sys", "/dev/shm")


def _refuse(event, arguments):
    """Refuse to open folders, and files that Linux alone has."""
    if event == "open" and isinstance(path := arguments[0], str):
        if path.startswith(FOLDERS):
            raise FileNotFoundError(2, "No such file or directory", path)
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)


def _remove():
    torch.optim.AdamW([torch.zeros(1)])  # imports more of PyTorch
    sys.modules.update(dict.fromkeys(MODULES))
    for module, names in ((os, OF_OS), (signal, OF_SIGNAL), (socket, OF_SOCKET)):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    os.process_cpu_count = os.cpu_count  # as where there is no sched_getaffinity
    sys.addaudithook(_refuse)


_remove()  # in the processes that are started from here, too

if __name__ == "__main__":
    from dprd_cli import cli

    print(json.dumps([cli.run(line) for line in json.loads(sys.argv[1])]))
