"""What collectors print, told line by line in the log.

Standard output and error of a collector are one memory file, opened for appending. A pipe would break with the
coordinator, or block the collector when nobody empties it; a file does neither, leaves nothing behind, and the next
coordinator finds it through the collector's own descriptor. What has been told is cut out of it (a hole), so it takes
no more memory than what nobody has read yet, and whoever takes over goes on behind the hole: nothing is told twice.

    [ hole: told ][ lines to be told ][ a line without its end ]
                  ^ first data of the file

inotify says when there is something to read.
"""

import asyncio
import ctypes
import mmap
import os
from collections import deque
from contextlib import suppress

from shmbus.coordinator.post import Log

LINE_BYTES = 64 * 1024  # a longer line is told in pieces
A_TURN = 256 * 1024  # bytes of one collector, before anybody else gets a turn
MOST_BYTES = 4 << 20  # a collector that prints faster than the log takes it loses the oldest
KEPT_LINES = 5

_FILE_NAME = "shmbus-output"
_IN_MODIFY = 0x2
_PUNCH_HOLE_KEEP_SIZE = 0x3

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class Output:
    """What one collector prints."""

    def __init__(self, name: str, descriptor: int, log: Log) -> None:
        self.descriptor = descriptor
        self._name, self._log = name, log
        self._read, self._told = 0, 0  # offsets in the file; between them stands a line without its end
        self._rest = b""
        self._last: deque[str] = deque(maxlen=KEPT_LINES)

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last few of them."""
        return tuple(self._last)

    def open_for_writing(self) -> int:
        """A descriptor for the collector; the caller's to close."""
        return os.open(f"/proc/self/fd/{self.descriptor}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def skip_told(self) -> None:
        """Go on where another coordinator stopped."""
        try:
            start = os.lseek(self.descriptor, 0, os.SEEK_DATA)
        except OSError:  # ENXIO: all of it has been told
            start = os.fstat(self.descriptor).st_size
        # Holes are whole pages, and the rest of one is zeroes. Versions before cut no page out that was told in parts.
        while (piece := os.pread(self.descriptor, LINE_BYTES, start)) and not piece.strip(b"\0"):
            start += len(piece)
        self._read = self._told = start + len(piece) - len(piece.lstrip(b"\0"))

    def read(self) -> bool:
        """Tell the complete lines; whether there is more to read."""
        size = os.fstat(self.descriptor).st_size
        if size < self._read:  # the collector has cut it short
            self._read, self._told, self._rest = 0, 0, b""
        if size - self._read > MOST_BYTES:
            self._say(f"… {size - self._read - MOST_BYTES} bytes of output were too many, and are lost")
            self._read, self._rest = size - MOST_BYTES, b""
        data = os.pread(self.descriptor, min(A_TURN, max(size - self._read, 0)), self._read)
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) >= LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._tell(line)
        self._cut_out()
        return self._read < size

    def finish(self) -> None:
        """The collector is gone: tell the rest."""
        while self.read():
            pass
        self._tell(self._rest)
        self._rest = b""

    def close(self) -> None:
        """Nothing is read from it any more."""
        os.close(self.descriptor)

    def _tell(self, line: bytes) -> None:
        if line:
            # A collector that is also run by hand names itself at the start of its lines.
            text = line.decode(errors="backslashreplace").removeprefix(f"{self._name}: ")
            self._last.append(text)
            self._say(text)

    def _say(self, text: str) -> None:
        self._log(f"{self._name}: {text}")

    def _cut_out(self) -> None:
        end = self._read - len(self._rest)
        if end > self._told:
            # From the start of its page: one that is told line by line is given back only by a cut that spans it.
            start = self._told - self._told % mmap.PAGESIZE
            _libc.fallocate(self.descriptor, _PUNCH_HOLE_KEEP_SIZE, start, end - start)
            self._told = end


class Outputs:
    """Of all collectors, on a running event loop."""

    def __init__(self, log: Log) -> None:
        self._log, self._loop = log, asyncio.get_running_loop()
        self._watches: dict[int, Output] = {}
        self._inotify = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        self._loop.add_reader(self._inotify, self._notified)

    def make(self, name: str) -> Output:
        """For a collector that is to be started. Raises OSError."""
        return self._watched(Output(name, os.memfd_create(_FILE_NAME, os.MFD_CLOEXEC), self._log))

    def adopt(self, name: str, pid: int) -> Output | None:
        """Of one that another coordinator started; None: it prints elsewhere by now."""
        for number in (1, 2):
            path = f"/proc/{pid}/fd/{number}"
            with suppress(OSError):
                if os.readlink(path).startswith(f"/memfd:{_FILE_NAME}"):
                    output = self._watched(Output(name, os.open(path, os.O_RDWR | os.O_CLOEXEC), self._log))
                    output.skip_told()
                    self._read(output)
                    return output
        return None

    def end(self, output: Output) -> None:
        """Its collector is gone."""
        for watch in [watch for watch, one in self._watches.items() if one is output]:
            del self._watches[watch]
            _libc.inotify_rm_watch(self._inotify, watch)
        output.finish()
        output.close()

    def close(self) -> None:
        """Read no more."""
        self._loop.remove_reader(self._inotify)
        os.close(self._inotify)
        for output in self._watches.values():
            output.close()
        self._watches.clear()

    def _watched(self, output: Output) -> Output:
        path = f"/proc/self/fd/{output.descriptor}".encode()
        try:
            watch = _checked(_libc.inotify_add_watch(self._inotify, path, _IN_MODIFY))
        except OSError:
            output.close()
            raise
        self._watches[watch] = output
        return output

    def _notified(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._inotify, 64 * 1024)
        for output in list(self._watches.values()):
            self._read(output)

    def _read(self, output: Output) -> None:
        if output in self._watches.values() and output.read():
            self._loop.call_soon(self._read, output)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
