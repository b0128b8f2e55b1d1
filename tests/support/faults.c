// Preloaded library (ld.so(8)) that makes a program's calls fail as on a machine that has run out
// of something.
//
// The variable FAULTS names a directory. A call fails while the directory has a file with the
// call's name. The file's size is the number of calls that succeed, counted from the program's
// first. Each call appends a byte to NAME.calls.
//
// The variable SPEEDUP divides the times after which a connection gives up a vanished peer.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

typedef ssize_t (*write_call)(int, const void *, size_t);

static int fails(const char *name) {
    char path[4096];
    const char *directory = getenv("FAULTS");
    if (directory == NULL) {
        return 0;
    }
    snprintf(path, sizeof path, "%s/%s.calls", directory, name);
    off_t made = 0;
    int calls = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (calls >= 0) {
        write_call real = (write_call)dlsym(RTLD_NEXT, "write");
        if (real(calls, ".", 1) < 1) {
            abort();
        }
        made = lseek(calls, 0, SEEK_CUR);
        close(calls);
    }
    snprintf(path, sizeof path, "%s/%s", directory, name);
    struct stat file;
    return stat(path, &file) == 0 && made > file.st_size;
}

// Thread limit reached.
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    return fails("pthread_create") ? EAGAIN : real(thread, attributes, start, argument);
}

// A disk that fails to write what the kernel has buffered.
int fdatasync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    if (fails("fdatasync")) {
        errno = EIO;
        return -1;
    }
    return real(file);
}

// A file system without locks.
int flock(int file, int operation) {
    int (*real)(int, int) = dlsym(RTLD_NEXT, "flock");
    if (fails("flock")) {
        errno = ENOTSUP;
        return -1;
    }
    return real(file, operation);
}

// A file system that became read-only. Pipes, terminals and sockets still work.
ssize_t write(int file, const void *bytes, size_t count) {
    write_call real = (write_call)dlsym(RTLD_NEXT, "write");
    struct stat status;
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && fails("write")) {
        errno = EROFS;
        return -1;
    }
    return real(file, bytes, count);
}

// The timeouts of tcp(7): two in seconds, at least 1, and one in milliseconds.
int setsockopt(int file, int level, int name, const void *value, socklen_t length) {
    int (*real)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
    const char *variable = getenv("SPEEDUP");
    int speedup = variable == NULL ? 1 : atoi(variable);
    if (level != IPPROTO_TCP || length != sizeof(int) || speedup <= 1) {
        return real(file, level, name, value, length);
    }
    int time = *(const int *)value;
    if (name == TCP_KEEPIDLE || name == TCP_KEEPINTVL || name == TCP_USER_TIMEOUT) {
        time = time > speedup ? time / speedup : 1;
    }
    return real(file, level, name, &time, length);
}
