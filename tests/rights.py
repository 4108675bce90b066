"Root may read and write everything, so permissions are tried without that right: in this thread, or in a command."
import ctypes
import os
import shutil
from contextlib import contextmanager

VERSION = 0x20080522  # of the structures of capget(2)
EVERYTHING = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: permissions of files do not count


def _is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


def permissions_count():
    "Whether `as_others` and `command_as_others` can do anything here."
    if os.name == "nt":
        return False
    return not _is_root() or (hasattr(ctypes.CDLL(None), "capset") and shutil.which("setpriv") is not None)


@contextmanager
def as_others():
    "For this thread, and those it starts, the permissions of files count; Python's own files stay readable."
    libc = ctypes.CDLL(None)
    if not _is_root() or not hasattr(libc, "capset"):
        yield
        return
    header = (ctypes.c_uint32 * 2)(VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then what does not fit in 32 bits
    libc.capget(header, sets)
    before = sets[0]
    sets[0] &= ~EVERYTHING
    if libc.capset(header, sets) != 0:
        raise OSError("the right to read everything cannot be laid down")
    try:
        yield
    finally:
        sets[0] = before
        libc.capset(header, sets)


def command_as_others(command):
    "A command, given as a list, for whose process the permissions of files count."
    if not _is_root():
        return command
    without = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *command]
