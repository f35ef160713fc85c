"""A library between programs and the system: below one folder the disk is full from the n-th write on.

It counts for all processes that share it, in a file that they map: what makes a file, a folder or a link, and what
writes into a file. Standard I/O of C writes within its own library, past this one.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static long *counted; /* by all processes; behind it, how many succeed */
static const char *under;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FULL_COUNTER");
    under = getenv("FULL_UNDER");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *memory = mmap(NULL, 2 * sizeof *counted, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory != MAP_FAILED && under) counted = memory;
}

static int is_full(const char *path) {
    size_t length = under ? strlen(under) : 0;
    if (!counted || strncmp(path, under, length) || (path[length] && path[length] != '/')) return 0;
    return __atomic_add_fetch(counted, 1, __ATOMIC_SEQ_CST) > counted[1];
}

static int is_full_at(int folder, const char *path) {
    char link[64], whole[2 * PATH_MAX];
    ssize_t size = 0;
    if (!counted) return 0;
    if (path[0] != '/') {
        if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        size = readlink(link, whole, PATH_MAX);
        if (size < 0) return 0;
        whole[size++] = '/';
    }
    snprintf(whole + size, sizeof whole - size, "%s", path);
    return is_full(whole);
}

static int is_full_in(int file) {
    char link[64], path[PATH_MAX];
    struct stat about;
    if (!counted || fstat(file, &about) || !S_ISREG(about.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return is_full(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FULL (errno = ENOSPC, -1)
#define WRITES(name, arguments, given) \
    ssize_t name arguments { return is_full_in(file) ? FULL : REAL(name) given; }

WRITES(write, (int file, const void *data, size_t size), (file, data, size))
WRITES(pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
WRITES(pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
WRITES(writev, (int file, const struct iovec *parts, int count), (file, parts, count))
WRITES(pwritev, (int file, const struct iovec *parts, int count, off_t at), (file, parts, count, at))

static int makes(int folder, const char *path, int how) {
    return (how & O_CREAT) && faccessat(folder, path, F_OK, AT_SYMLINK_NOFOLLOW) && is_full_at(folder, path);
}

#define OPENS(name) \
    int name(const char *path, int how, ...) { \
        va_list rest; va_start(rest, how); int mode = va_arg(rest, int); va_end(rest); \
        return makes(AT_FDCWD, path, how) ? FULL : REAL(name)(path, how, mode); \
    }
#define OPENS_AT(name) \
    int name(int folder, const char *path, int how, ...) { \
        va_list rest; va_start(rest, how); int mode = va_arg(rest, int); va_end(rest); \
        return makes(folder, path, how) ? FULL : REAL(name)(folder, path, how, mode); \
    }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

int mkdir(const char *path, mode_t mode) {
    return faccessat(AT_FDCWD, path, F_OK, 0) && is_full_at(AT_FDCWD, path) ? FULL : REAL(mkdir)(path, mode);
}
int symlink(const char *to, const char *path) {
    return is_full_at(AT_FDCWD, path) ? FULL : REAL(symlink)(to, path);
}
"""


class FullDisk:
    """The library, and the count of what was written below a folder."""

    def __init__(self, place: Path) -> None:
        """Compile it into the folder ``place``; the test is skipped where there is no C compiler."""
        if shutil.which("cc") is None:
            pytest.skip("needs a C compiler")
        (place / "full.c").write_text(SOURCE)
        self.library = place / "full.so"
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self.library), str(place / "full.c"), "-ldl"]
        subprocess.run(command, check=True)
        self._counter = place / "counter"

    def below(self, folder: Path, after: int) -> dict[str, str]:
        """Return the environment of a command whose writes below a folder fail after so many of them."""
        self._counter.write_bytes(struct.pack("=qq", 0, after))
        return {"LD_PRELOAD": str(self.library), "FULL_COUNTER": str(self._counter), "FULL_UNDER": str(folder)}

    def has_space(self) -> None:
        """Let every further write succeed, also of processes that are running."""
        with self._counter.open("r+b") as file:
            file.seek(8)
            file.write(struct.pack("=q", 2**62))

    @property
    def writes(self) -> int:
        """How many writes there were up to now."""
        found: int = struct.unpack_from("=q", self._counter.read_bytes())[0]
        return found
