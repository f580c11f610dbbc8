#include "bench/machine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What stands behind `name` and a colon in a file such as /proc/cpuinfo. */
static bool look_up(const char *path, const char *name, char *text, size_t size) {
    char line[512];
    FILE *file = fopen(path, "r");
    bool found = false;
    if (!file) return false;
    while (!found && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (!colon || strncmp(line, name, strlen(name)) != 0) continue;
        snprintf(text, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
        text[strcspn(text, "\n")] = '\0';
        found = true;
    }
    fclose(file);
    return found;
}

const char *ls_machine_processor(char *text, size_t size) {
    if (!look_up("/proc/cpuinfo", "model name", text, size)) snprintf(text, size, "unknown");
    return text;
}

size_t ls_machine_last_cache(void) {
    size_t largest = 0;
    for (int index = 0; index < 8; index++) {
        char path[64];
        unsigned long kib = 0;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
        FILE *file = fopen(path, "r");
        if (!file) break;
        if (fscanf(file, "%luK", &kib) == 1 && (size_t)kib << 10 > largest) largest = (size_t)kib << 10;
        fclose(file);
    }
    return largest > 0 ? largest : (size_t)32 << 20;
}

bool ls_memory_forget_peak(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return false;
    const bool written = fputs("5", file) >= 0; /* 5: reset the peak (proc(5)) */
    return fclose(file) == 0 && written;
}

double ls_memory_peak(void) {
    char text[64];
    if (!look_up("/proc/self/status", "VmHWM", text, sizeof text)) return (double)NAN;
    return strtod(text, NULL) * 1024; /* "123 kB" */
}

static double read_clock(clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) return 0; /* cannot fail with these clocks (POSIX) */
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double ls_processor_seconds(void) {
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

double ls_thread_seconds(void) {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}
