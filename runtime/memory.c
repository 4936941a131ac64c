/* memory.c: see memory.h.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "memory.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#ifndef MADV_HUGEPAGE
#define MADV_HUGEPAGE 14
#endif

enum { HUGE_PAGE = 2 << 20 };

int64_t round_up(int64_t bytes, int64_t to)
{
    return (bytes + to - 1) / to * to;
}

/* A number in a small file of the kernel, after `label`; -1 where there is
 * none. */
static int64_t kernel_number(const char *path, const char *label)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    char line[256];
    long long number = -1;
    size_t length = strlen(label);
    while (number < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, label, length) == 0
            && sscanf(line + length, "%lld", &number) != 1)
            number = -1;
    fclose(file);
    return number;
}

int64_t memory_available(void)
{
    int64_t kilobytes = kernel_number("/proc/meminfo", "MemAvailable:");
    int64_t swap = kernel_number("/proc/meminfo", "SwapFree:");
    int64_t bytes = INT64_MAX;
    if (kilobytes >= 0)
        bytes = (kilobytes + (swap > 0 ? swap : 0)) * 1024;
    int64_t limit = kernel_number("/sys/fs/cgroup/memory.max", "");
    return limit >= 0 && limit < bytes ? limit : bytes;
}

char *memory_map(int64_t bytes, bool shared, const char *name, Error *error)
{
    /* One huge page more, so that the first part can start at one. */
    size_t length = (size_t)round_up(bytes, PAGE);
    int kind = shared ? MAP_SHARED : MAP_PRIVATE;
    char *start = mmap(NULL, length + HUGE_PAGE, PROT_READ | PROT_WRITE,
                       kind | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        error_set(error, 3, "%s needs %.1f MiB of memory (%lld bytes), "
                  "which the system refuses: %s; a limit (ulimit -v) "
                  "may stand below the %lld bytes available", name,
                  (double)bytes / (1 << 20), (long long)bytes, strerror(errno),
                  (long long)memory_available());
        return NULL;
    }
    size_t skip = (HUGE_PAGE - (uintptr_t)start % HUGE_PAGE) % HUGE_PAGE;
    char *memory = start + skip;
    if (skip > 0)
        munmap(start, skip);
    if (skip < HUGE_PAGE)
        munmap(memory + length, HUGE_PAGE - skip);
    madvise(memory, length, MADV_HUGEPAGE);
    return memory;
}

void memory_unmap(char *memory, int64_t bytes)
{
    munmap(memory, (size_t)round_up(bytes, PAGE));
}

int64_t peak_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

int64_t private_memory(void)
{
    int64_t made = kernel_number("/proc/self/status", "RssAnon:");
    int64_t files = kernel_number("/proc/self/status", "RssFile:");
    return ((made > 0 ? made : 0) + (files > 0 ? files : 0)) * 1024;
}
