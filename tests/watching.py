"Watches one piece of work: does it crash, hang, print, or take more memory than it may?"
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

LONGEST = 5.0  # seconds of the processor for one use of a picture or a folder
MOST_MEMORY = 1024  # MB above what the process held before


class TooLong(BaseException):
    "No exception of those that programs catch."


def memory(name="VmRSS"):
    "MB that this process holds, or, as VmHWM, has held since `forget_peak`; 0 where the system does not say."
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def forget_peak():
    "Let VmHWM begin anew."
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


class Watch:
    """A context for some uses of one thing; what is wrong with it is in `wrong` afterwards, and nothing is raised.
    The seconds are the processor's, so that a busy machine does no harm; `patience` times as much by the clock is a
    hang, too: something waits for what never comes."""
    def __init__(self, uses=1, longest=LONGEST, patience=20):
        self.allowed = uses * longest
        self.patience = patience
        self.wrong = ""

    def __enter__(self):
        sys.stderr.flush()
        self.heard = tempfile.TemporaryFile()
        self.stderr = os.dup(2)
        os.dup2(self.heard.fileno(), 2)  # libraries in C write there too
        self.before = {number: signal.signal(number, self.stop) for number in (signal.SIGALRM, signal.SIGPROF)}
        forget_peak()
        self.memory, self.start = memory(), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, self.allowed)
        signal.setitimer(signal.ITIMER_REAL, self.allowed * self.patience)
        return self

    @staticmethod
    def stop(*args):
        raise TooLong

    def __exit__(self, kind, error, trace):
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.seconds = time.process_time() - self.start
        self.mb = memory("VmHWM") - self.memory
        sys.stderr.flush()
        os.dup2(self.stderr, 2)
        os.close(self.stderr)
        with self.heard as file:
            file.seek(0)
            said = file.read().decode(errors="replace")
        self.wrong = self.judge(error, said)
        return kind is TooLong or isinstance(error, Exception)

    def judge(self, error, said):
        "What is wrong, in a few words; empty if nothing is."
        if isinstance(error, TooLong):
            return "hang"
        if error is not None:
            return f"crash: {type(error).__name__}: {error}"[:300]
        if said:
            return f"noise: {said!r}"[:300]
        if self.seconds > self.allowed:
            return f"slow: {self.seconds:.1f} s"
        if self.mb > MOST_MEMORY:
            return f"memory: {self.mb:.0f} MB"
        return ""

    @property
    def facts(self):
        "For a row of results."
        return {"wrong": self.wrong, "seconds": round(self.seconds, 3), "mb": round(self.mb)}
