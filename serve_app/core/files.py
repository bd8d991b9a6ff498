"""Files that are there whole, or not at all."""

import os
import stat
import uuid
from pathlib import Path


def write_whole(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Write beside `path`, then put it in its place: whoever reads finds the old content or the new one.

    Text is UTF-8. A file that is replaced keeps who may read it; `private`: its owner alone may. What is no file, such
    as a terminal, is written to as it is. Raises OSError, and UnicodeEncodeError for half a surrogate pair; then
    nothing has changed.
    """
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    target = path if private else path.resolve()  # a link stays one, but nothing private goes where it leads
    part = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with os.fdopen(fd, "wb") as file:
            if target.exists() and not private:
                os.fchmod(fd, stat.S_IMODE(target.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(fd)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
