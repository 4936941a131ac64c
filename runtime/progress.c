/* progress.c: see progress.h.
 * SPDX-License-Identifier: 0BSD */
#include "progress.h"
#include "cpu.h"
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void progress_open(Progress *progress, bool quiet, int64_t first, int64_t last,
                   double flops)
{
    *progress = (Progress){
        .quiet = quiet,
        .terminal = !quiet && isatty(STDOUT_FILENO),
        .first = first,
        .last = last,
        .flops = flops,
        .begun = clock_seconds(),
    };
}

/* "1h02m", "3m20s" or "12s". */
static void duration(char *text, size_t room, double seconds)
{
    long long whole = seconds < 1e9 ? (long long)(seconds + 0.5) : 1000000000;
    if (whole >= 3600)
        snprintf(text, room, "%lldh%02lldm", whole / 3600, whole / 60 % 60);
    else if (whole >= 60)
        snprintf(text, room, "%lldm%02llds", whole / 60, whole % 60);
    else
        snprintf(text, room, "%llds", whole);
}

static void show_line(Progress *progress, const StepRecord *record)
{
    double rate = progress->flops / record->seconds;
    char left[32];
    duration(left, sizeof left, progress->step_seconds
                                * (double)(progress->last - record->step));
    printf("%sstep %lld/%lld  loss %.4f  lr %.3g  norm %.3g  %.0f tokens/s  "
           "%.1f GFLOP/s", progress->terminal ? "\r" : "",
           (long long)record->step, (long long)progress->last, record->loss,
           record->lr, record->grad_norm,
           (double)record->tokens / record->seconds, rate * 1e-9);
    if (progress->peak > 0)
        printf(" (%.0f%% of peak)", 100 * rate / progress->peak);
    printf("  ETA %s%s%s", left, record->skipped ? "  skipped" : "",
           progress->terminal ? "\033[K" : "\n");
    progress->open_line = progress->terminal;
    fflush(stdout);
}

void progress_step(Progress *progress, const StepRecord *record)
{
    double mean = progress->step_seconds;
    progress->step_seconds = record->step == progress->first
        ? record->seconds : 0.9 * mean + 0.1 * record->seconds;
    double now = clock_seconds();
    double pause = progress->terminal ? 0.1 : 1;
    bool ends = record->step == progress->first
        || record->step == progress->last;
    if (progress->quiet || (!ends && now - progress->shown < pause))
        return;
    progress->shown = now;
    show_line(progress, record);
}

void progress_note(Progress *progress, const char *format, ...)
{
    if (progress->quiet)
        return;
    if (progress->open_line)
        putchar('\n');
    progress->open_line = false;
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

void progress_evaluation(Progress *progress, const EvaluationRecord *record)
{
    char accuracy[64] = "";
    if (record->accuracy >= 0)
        snprintf(accuracy, sizeof accuracy, "  accuracy %.4f",
                 record->accuracy);
    progress_note(progress, "step %lld/%lld  eval loss %.4f%s",
                  (long long)record->step, (long long)progress->last,
                  record->loss, accuracy);
}

void progress_close(Progress *progress)
{
    if (progress->open_line)
        putchar('\n');
    progress->open_line = false;
    fflush(stdout);
}
