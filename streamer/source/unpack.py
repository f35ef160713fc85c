"""A zstd-compressed file or message → the file unpacked beside the run, or the message's bytes."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

from streamer.errors import RecordingError, StorageError
from streamer.source.payload import MemoryPayload

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamer.records import Payload
    from streamer.source.reader import Reader


class UnpackedReader:
    """A reader of a compressed file: unpacks it into the scratch folder, removes it when closed."""

    def __init__(self, path: Path, scratch: Path, open_file: Callable[[Path, Path], Reader]) -> None:
        """Unpack and open; the compressed file is left alone.

        Raises:
            RecordingError: it does not decompress. StorageError: the scratch folder is full.

        """
        scratch.mkdir(parents=True, exist_ok=True)
        self._unpacked = scratch / path.name.removesuffix(".zstd")
        try:
            with path.open("rb") as file, zstd.open(file, "rb") as source, self._unpacked.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            self._reader = open_file(self._unpacked, scratch)
        except (zstd.ZstdError, EOFError) as error:
            self._unpacked.unlink(missing_ok=True)
            msg = f"{path}: does not decompress: {error}"
            raise RecordingError(msg) from error
        except OSError as error:
            self._unpacked.unlink(missing_ok=True)
            msg = f"{path}: cannot be unpacked into {scratch}: {error.strerror}"
            raise StorageError(msg) from error
        except BaseException:
            self._unpacked.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Close the unpacked file and remove it."""
        self._reader.close()
        self._unpacked.unlink(missing_ok=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def unpack_message(payload: Payload) -> Payload:
    """Decompress one message (rosbag2's compression mode ``message``).

    Raises:
        RecordingError: it does not decompress.

    """
    try:
        return MemoryPayload(memoryview(zstd.decompress(payload.all())))
    except (zstd.ZstdError, EOFError) as error:
        msg = f"a compressed message of {len(payload)} bytes does not decompress: {error}"
        raise RecordingError(msg) from error
