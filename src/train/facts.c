#include "train/facts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/device_cuda.h"
#include "train/versions.h"
#include "version.h"

void ls_version_print(FILE *out) {
    const ls_backend *fp32;
    ls_instruction_set set;
    const char *why;
    fprintf(out, "lockstep %s (git %s)\nbits %d\n%s\n%s\ncompiler %s\n", LOCKSTEP_VERSION, LOCKSTEP_GIT,
            LS_BITS, ls_mpi_version().text, ls_hdf5_version().text, LS_COMPILER);
    if (ls_backend_find(LS_FP32, &fp32) == LS_OK)
        fprintf(out, "instructions %s (cpu)\n", ls_instruction_set_name(fp32->instruction_set));
    if (ls_instruction_set_choose_bf16(&set, &why) == LS_OK)
        fprintf(out, "instructions of bf16 %s (%s)\n", ls_instruction_set_name(set), why);
}

static void add(ls_facts *facts, ls_fact_name name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(ls_facts *facts, ls_fact_name name, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(facts->text[facts->count], LS_FACT_TEXT, format, args);
    va_end(args);
    facts->list[facts->count] = (ls_fact){ls_fact_names[name], facts->text[facts->count]};
    facts->count++;
}

ls_status ls_facts_collect(const ls_trainer *t, const char *config_path, ls_facts *facts) {
    char host[256] = "unknown", date[64] = "unknown";
    time_t now = time(NULL);
    struct tm utc;
    *facts = (ls_facts){0};
    if (gethostname(host, sizeof host - 1) != 0) snprintf(host, sizeof host, "unknown");
    if (gmtime_r(&now, &utc)) strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    add(facts, LS_FACT_CONFIG, "%s", config_path);
    add(facts, LS_FACT_DATA_SET, "%s", t->data.name);
    add(facts, LS_FACT_DATA_FOLDER, "%s", t->data.folder);
    add(facts, LS_FACT_DATA_DIGEST, "%016llx", (unsigned long long)t->data.digest);
    add(facts, LS_FACT_HOST, "%s", host);
    add(facts, LS_FACT_STARTED, "%s", date);
    add(facts, LS_FACT_RANKS, "%d", t->comm->size);
    add(facts, LS_FACT_THREADS, "%lld", (long long)t->options.threads);
    add(facts, LS_FACT_COMM, "%s", t->comm->class->name);
    if (t->gpu) { /* products by tensor cores have the bits of their generation */
        const ls_device_facts *gpu = ls_device_facts_of(t->gpu->device);
        add(facts, LS_FACT_BACKEND, "%s, compute capability %d.%d", t->backend->name, gpu->architecture / 10,
            gpu->architecture % 10);
    } else {
        add(facts, LS_FACT_BACKEND, "%s", t->backend->name);
    }
    add(facts, LS_FACT_INSTRUCTION_SET, "%s", ls_instruction_set_name(t->backend->instruction_set));
    add(facts, LS_FACT_LOCKSTEP, "%s", LOCKSTEP_VERSION);
    add(facts, LS_FACT_GIT, "%s", LOCKSTEP_GIT);
    add(facts, LS_FACT_MPI, "%s", ls_mpi_version().text);
    add(facts, LS_FACT_HDF5, "%s", ls_hdf5_version().text + strlen("HDF5 "));
    add(facts, LS_FACT_BITS, "%d", LS_BITS);
    add(facts, LS_FACT_COMPILER, "%s", LS_COMPILER);
    return LS_OK;
}
