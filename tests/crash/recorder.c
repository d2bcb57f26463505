/*
 * Records what a program does to the files of one directory, for a power cut that is played afterwards.
 *
 * Loaded by LD_PRELOAD into the real program. Every call that changes a file below RECORDER_DIRECTORY, its
 * length, its owner, its name, or makes that last (fsync), is appended to RECORDER_TAPE; so is what goes to
 * standard output and standard error: the success line stands in the same sequence as the writes. One lock
 * across all threads and processes is held around each call and its record, so the order on the tape is the
 * order in which things happened. tape.rs reads it.
 *
 * Files that end in "-shm" are left out: they are mapped into memory, and nobody expects them to outlive
 * a power cut. A call that changes files and is missing here is found by the test: what the tape says must
 * be what lies there, byte for byte.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096, RECORDS_MAX = 1 << 20 };

/* What a descriptor leads to. */
enum { NOTHING, WATCHED_FILE, WATCHED_DIRECTORY };

struct record {
  uint8_t kind; /* see the callers of append() */
  uint8_t padding[3];
  uint32_t pid;
  uint64_t inode;
  uint64_t offset;
  uint64_t length; /* of the bytes that follow */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *directory;
static int tape = -1;
static uint8_t watched[DESCRIPTORS];

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static void give_up(void) { abort(); }

__attribute__((constructor)) static void start(void) {
  directory = getenv("RECORDER_DIRECTORY");
  const char *path = getenv("RECORDER_TAPE");
  if (!directory || !path) return;
  tape = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (tape < 0) give_up();
}

static void lock(void) {
  pthread_mutex_lock(&mutex);
  while (flock(tape, LOCK_EX) != 0)
    if (errno != EINTR) give_up();
}

static void unlock(void) {
  flock(tape, LOCK_UN);
  pthread_mutex_unlock(&mutex);
}

static void append(char kind, uint64_t inode, uint64_t offset, const void *bytes, size_t length) {
  struct record record = {(uint8_t)kind, {0}, (uint32_t)getpid(), inode, offset, length};
  struct iovec parts[2] = {{&record, sizeof record}, {(void *)(uintptr_t)bytes, length}};
  REAL(writev);
  if (length > RECORDS_MAX || real(tape, parts, 2) != (ssize_t)(sizeof record + length)) give_up();
}

/* The name below the directory; NULL if it is elsewhere, or not for the tape. */
static const char *name_of(const char *path) {
  size_t length = directory ? strlen(directory) : 0;
  if (tape < 0 || !path || strncmp(path, directory, length) != 0 || path[length] != '/') return NULL;
  const char *name = path + length + 1;
  size_t end = strlen(name);
  return end >= 4 && strcmp(name + end - 4, "-shm") == 0 ? NULL : name;
}

static uint64_t inode_of(int fd) {
  struct stat found;
  if (fstat(fd, &found) != 0) give_up();
  return found.st_ino;
}

static int is(int fd, int what) { return tape >= 0 && fd >= 0 && fd < DESCRIPTORS && watched[fd] == what; }

static int opened(int fd, const char *path, const char *name, int flags, int was_there) {
  int error = errno;
  if (fd >= DESCRIPTORS) give_up();
  if (fd >= 0 && name) {
    watched[fd] = WATCHED_FILE;
    if (!was_there) append('C', inode_of(fd), 0, name, strlen(name));
    else if (flags & O_TRUNC) append('T', inode_of(fd), 0, NULL, 0);
  } else if (fd >= 0) {
    watched[fd] = directory && strcmp(path, directory) == 0 ? WATCHED_DIRECTORY : NOTHING;
  }
  errno = error;
  return fd;
}

#define OPEN(function) \
  int function(const char *path, int flags, ...) { \
    REAL(function); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
      va_list rest; \
      va_start(rest, flags); \
      mode = (mode_t)va_arg(rest, int); \
      va_end(rest); \
    } \
    if (tape < 0) return real(path, flags, mode); \
    const char *name = name_of(path); \
    struct stat found; \
    lock(); \
    int was_there = name && stat(path, &found) == 0; \
    int fd = opened(real(path, flags, mode), path, name, flags, was_there); \
    unlock(); \
    return fd; \
  }

OPEN(open)
OPEN(open64)

int close(int fd) {
  REAL(close);
  if (fd >= 0 && fd < DESCRIPTORS) watched[fd] = NOTHING;
  return real(fd);
}

/* Where a plain write goes. */
static uint64_t position(int fd) {
  off_t position = lseek(fd, 0, SEEK_CUR);
  return position < 0 ? 0 : (uint64_t)position;
}

ssize_t write(int fd, const void *bytes, size_t length) {
  REAL(write);
  if (is(fd, WATCHED_FILE)) {
    lock();
    uint64_t offset = position(fd);
    ssize_t written = real(fd, bytes, length);
    int error = errno;
    if (written > 0) append('W', inode_of(fd), offset, bytes, (size_t)written);
    unlock();
    errno = error;
    return written;
  }
  if (tape >= 0 && (fd == 1 || fd == 2)) {
    lock();
    ssize_t written = real(fd, bytes, length);
    int error = errno;
    if (written > 0) append('P', 0, (uint64_t)fd, bytes, (size_t)written);
    unlock();
    errno = error;
    return written;
  }
  return real(fd, bytes, length);
}

#define PWRITE(function, type) \
  ssize_t function(int fd, const void *bytes, size_t length, type offset) { \
    REAL(function); \
    if (!is(fd, WATCHED_FILE)) return real(fd, bytes, length, offset); \
    lock(); \
    ssize_t written = real(fd, bytes, length, offset); \
    int error = errno; \
    if (written > 0) append('W', inode_of(fd), (uint64_t)offset, bytes, (size_t)written); \
    unlock(); \
    errno = error; \
    return written; \
  }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(function, type) \
  int function(int fd, type length) { \
    REAL(function); \
    if (!is(fd, WATCHED_FILE)) return real(fd, length); \
    lock(); \
    int failed = real(fd, length); \
    int error = errno; \
    if (!failed) append('T', inode_of(fd), (uint64_t)length, NULL, 0); \
    unlock(); \
    errno = error; \
    return failed; \
  }

TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

/* It only ever makes a file longer, with zeros: as long as the file is then. */
#define ALLOCATE(function, type) \
  int function(int fd, type offset, type length) { \
    REAL(function); \
    if (!is(fd, WATCHED_FILE)) return real(fd, offset, length); \
    lock(); \
    int failed = real(fd, offset, length); \
    struct stat found; \
    if (!failed && !fstat(fd, &found)) append('T', inode_of(fd), (uint64_t)found.st_size, NULL, 0); \
    unlock(); \
    return failed; \
  }

ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

#define SYNC(function) \
  int function(int fd) { \
    REAL(function); \
    if (!is(fd, WATCHED_FILE) && !is(fd, WATCHED_DIRECTORY)) return real(fd); \
    lock(); \
    int failed = real(fd); \
    int error = errno; \
    if (!failed) append(is(fd, WATCHED_DIRECTORY) ? 'D' : 'S', inode_of(fd), 0, NULL, 0); \
    unlock(); \
    errno = error; \
    return failed; \
  }

SYNC(fsync)
SYNC(fdatasync)

int fchown(int fd, uid_t owner, gid_t group) {
  REAL(fchown);
  if (!is(fd, WATCHED_FILE)) return real(fd, owner, group);
  lock();
  int failed = real(fd, owner, group);
  int error = errno;
  if (!failed && owner != (uid_t)-1) append('O', inode_of(fd), owner, NULL, 0);
  unlock();
  errno = error;
  return failed;
}

static int unlinked(int failed, const char *name) {
  int error = errno;
  if (!failed && name) append('U', 0, 0, name, strlen(name));
  errno = error;
  return failed;
}

int unlink(const char *path) {
  REAL(unlink);
  const char *name = name_of(path);
  if (!name) return real(path);
  lock();
  int failed = unlinked(real(path), name);
  unlock();
  return failed;
}

int unlinkat(int at, const char *path, int flags) {
  REAL(unlinkat);
  const char *name = name_of(path);
  if (!name) return real(at, path, flags);
  lock();
  int failed = unlinked(real(at, path, flags), name);
  unlock();
  return failed;
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
  REAL(linkat);
  const char *name = name_of(to);
  if (!name) return real(from_at, from, to_at, to, flags);
  lock();
  int failed = real(from_at, from, to_at, to, flags);
  int error = errno;
  struct stat found;
  if (!failed) {
    if (stat(to, &found) != 0) give_up();
    append('L', found.st_ino, 0, name, strlen(name));
  }
  unlock();
  errno = error;
  return failed;
}

int rename(const char *from, const char *to) {
  REAL(rename);
  const char *old = name_of(from), *new = name_of(to);
  if (!old && !new) return real(from, to);
  lock();
  struct stat found;
  if (stat(from, &found) != 0) found.st_ino = 0;
  int failed = real(from, to);
  int error = errno;
  if (!failed && new) append('L', found.st_ino, 0, new, strlen(new));
  if (!failed && old) append('U', 0, 0, old, strlen(old));
  unlock();
  errno = error;
  return failed;
}
