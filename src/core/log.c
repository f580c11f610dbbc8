#include "core/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_int log_level = LS_LOG_WARNING;
static atomic_int log_rank = 0;
static atomic_int log_size = 1;

void ls_log_set_level(ls_log_level level) {
    atomic_store(&log_level, (int)level);
}

void ls_log_set_rank(int rank, int size) {
    atomic_store(&log_rank, rank);
    atomic_store(&log_size, size);
}

void ls_log(ls_log_level level, const char *format, ...) {
    static const char *const names[] = {"error: ", "warning: ", "", ""};
    char line[2304], prefix[48] = "";
    va_list args;
    if ((int)level > atomic_load(&log_level)) return;
    if (atomic_load(&log_size) > 1) snprintf(prefix, sizeof prefix, "[rank %d] ", atomic_load(&log_rank));
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "lockstep: %s%s%s\n", prefix, names[level], line);
}
