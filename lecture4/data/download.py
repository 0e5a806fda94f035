"""Download a file from the first of several sources that is fast enough, keeping what has come."""

import contextlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from rich import progress

from lecture4.support.console import make_console

PATIENCE = 10.0  # seconds in which a source must answer, or send its next bytes
SPEED = 200_000  # bytes per second that it must keep up
WINDOW = 10.0  # seconds over which the speed is measured
CONNECTIONS = 20  # to a source that breaks off


class NotServed(Exception):  # noqa: N818, no error as long as there is another source
    """A source did not serve the file; the text says why."""


class TooSlow(NotServed):
    """It sent less than ``SPEED``, or nothing for ``PATIENCE``."""


class BrokeOff(NotServed):
    """It closed the connection before the end of the file."""


def download(urls: Iterable[str], target: Path, accept: Callable[[Path], None]) -> None:
    """Download a file from the first good source, pass it to ``accept``, and delete it.

    A file of n bytes arrives as ``target.n``. Another connection, source or process that announces
    n bytes continues it by an HTTP Range request. If ``accept`` refuses a file that came in several
    parts, the last source is asked for all of it. A slow source is left for the next one; slow
    sources are tried again, at any speed, if no other serves the file.

    Args:
        urls: of the sources, in the order in which they are tried.
        target: path of the file without its size; the folder exists.
        accept: verifies and uses the file; raises NotServed if the content is wrong.

    Raises:
        NotServed: no source serves it; the text gives each one's reason.
        OSError: the file cannot be written. What has come is kept.
    """
    for arrived, size, path in _parts(target):
        if arrived == size:  # of a process that ended before it was accepted
            with contextlib.suppress(NotServed):
                return _hand_over(path, accept)
    reasons: dict[str, NotServed] = {}
    for speed in (SPEED, 0):
        for url in urls:
            if speed or isinstance(reasons[url], TooSlow):
                try:
                    return _fetch(url, target, accept, speed)
                except NotServed as reason:
                    reasons[url] = reason
    raise NotServed("; ".join(f"{_host(url)}: {reason}" for url, reason in reasons.items()))


def _fetch(url: str, target: Path, accept: Callable[[Path], None], speed: float) -> None:
    """Transfer from one source until the file is complete, and hand it over."""
    for left in reversed(range(CONNECTIONS)):
        before = sum(arrived for arrived, *_ in _parts(target))
        try:
            path, in_parts = _transfer(url, target, speed)
        except BrokeOff:
            if not left or sum(arrived for arrived, *_ in _parts(target)) == before:
                raise
            continue
        try:
            return _hand_over(path, accept)
        except NotServed:
            if not (left and in_parts):
                raise


def _hand_over(path: Path, accept: Callable[[Path], None]) -> None:
    try:
        accept(path)
    except NotServed:
        path.unlink()
        raise
    path.unlink()


def _transfer(url: str, target: Path, speed: float) -> tuple[Path, bool]:
    """Write what a source sends; return the file, and whether it holds parts of other transfers."""
    response, start, size = _request(url, target)
    path = target.with_name(f"{target.name}.{size}")
    path.touch()
    with response, path.open("r+b") as file, _bar(url, start, size) as advance:
        file.seek(start)
        for chunk in _chunks(response, speed):
            file.write(chunk)
            advance(len(chunk))
            if file.tell() == size:
                break
        if not size:
            file.truncate()
        if file.tell() < size:
            raise BrokeOff(f"broke off after {file.tell():,} of {size:,} bytes")
    return path, start > 0


def _request(url: str, target: Path) -> tuple[http.client.HTTPResponse, int, int]:
    """Ask for the rest of a file, or else for all of it: answer, offset, size (0 if unknown)."""
    for arrived, of, _ in (*_parts(target), (0, 0, None)):
        rest = {"Range": f"bytes={arrived}-"} if arrived else {}
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "lecture4", **rest})
            response = urllib.request.urlopen(request, timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            error.close()
            if arrived:
                continue  # no such range, or no ranges at all
            phrase = http.client.responses.get(error.code, "")
            raise NotServed(f"HTTP {error.code} {phrase}".strip()) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotServed(_reason(error)) from error
        start, size = _range(response)
        if start == 0 or (start, size) == (arrived, of):
            return response, start, size
        response.close()  # of another file than the one that has begun
    raise NotServed("answered with another range than asked for")


def _range(response: http.client.HTTPResponse) -> tuple[int, int]:
    """Offset of an answer's first byte (−1 if unknown), and size of the whole file (0)."""
    if response.status == http.client.PARTIAL_CONTENT:
        match = re.match(r"bytes (\d+)-\d+/(\d+)$", response.headers.get("Content-Range", ""))
        return (int(match[1]), int(match[2])) if match else (-1, 0)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else 0


def _chunks(response: http.client.HTTPResponse, speed: float) -> Iterator[bytes]:
    """What a source sends, as it comes.

    Raises:
        TooSlow: less than ``speed`` bytes per second came in ``WINDOW``, or none in ``PATIENCE``.
        BrokeOff: the connection failed.
    """
    since, arrived = time.monotonic(), 0
    while True:
        try:
            chunk = response.read1(2**16)
        except TimeoutError as error:
            raise TooSlow(f"sent nothing for {PATIENCE:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise BrokeOff(_reason(error)) from error
        if not chunk:
            return
        yield chunk
        arrived += len(chunk)
        seconds = time.monotonic() - since
        if seconds >= WINDOW:
            if arrived < speed * seconds:
                raise TooSlow(f"{arrived / seconds / 1000:,.0f} kB/s")
            since, arrived = time.monotonic(), 0


def _parts(target: Path) -> list[tuple[int, int, Path]]:
    """Files at ``target``, complete or not: bytes that have arrived, all bytes, path."""
    paths = target.parent.glob(f"{target.name}.*")
    return sorted(((p.stat().st_size, int(p.suffix[1:]), p) for p in paths), reverse=True)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)  # URLError wraps the error of the socket
    if isinstance(reason, TimeoutError):
        return f"no answer in {PATIENCE:g} s"
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _host(url: str) -> str:
    """The server's name, without user and password."""
    return url.partition("//")[2].partition("/")[0].rpartition("@")[2] or url


@contextlib.contextmanager
def _bar(url: str, start: int, size: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, a line elsewhere; yield a function that counts bytes."""
    text, console = f"downloading from {_host(url)}", make_console(stderr=True)
    if not console.is_terminal:
        console.print(text, soft_wrap=True)
    with progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("left"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(text, total=size or None, completed=start)
        yield partial(bar.advance, task)
