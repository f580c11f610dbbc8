/* What is measured: a trainer as training has it, on data in memory. */
#include <stdlib.h>

#include "bench/kinds.h"
#include "bench/machine.h"
#include "core/instruction_set.h"
#include "core/rng.h"

enum { MADE_SIZE = 28, MADE_CLASSES = 10 }; /* MNIST's */

/* --- data ------------------------------------------------------------------------------------------ */

/* As MNIST, 19 of 100 pixels are not zero, and those near the border always are: here all within 23 x 23,
 * with 28 of 100. */
static void make_image(uint64_t seed, uint32_t sample, uint8_t *image) {
    enum { PIXELS = MADE_SIZE * MADE_SIZE, BLOCKS = PIXELS / 4 };
    uint32_t words[PIXELS];
    const ls_rng rng = ls_rng_stream(seed, LS_RNG_TEST, 0, 0, sample);
    LS_NAME(ls_rng_blocks)(&rng, 0, BLOCKS, words);
    for (int i = 0; i < PIXELS; i++) {
        const int y = i / MADE_SIZE, x = i % MADE_SIZE;
        const bool inside = y >= 2 && y < 25 && x >= 2 && x < 25;
        image[i] = inside && ls_rng_unit(words[i]) < 0.28 ? (uint8_t)(1 + words[i] % 255) : 0;
    }
}

static ls_status make_set(uint64_t seed, int64_t count, ls_dataset *set) {
    *set = (ls_dataset){.count = count, .height = MADE_SIZE, .width = MADE_SIZE, .classes = MADE_CLASSES};
    LS_TRY(ls_calloc(&set->images, (size_t)count, (size_t)MADE_SIZE * MADE_SIZE, "the images"));
    LS_TRY(ls_calloc(&set->labels, (size_t)count, 1, "the labels"));
    for (int64_t i = 0; i < count; i++) {
        make_image(seed, (uint32_t)i, set->images + i * MADE_SIZE * MADE_SIZE);
        set->labels[i] = (uint8_t)(i % MADE_CLASSES);
    }
    return LS_OK;
}

/* Training samples alone, as many as the configuration splits off; the same on every rank. */
static ls_status make_data(const ls_options *o, ls_data *data) {
    *data = (ls_data){.name = "made", .training = o->split};
    LS_TRY(ls_strdup(&data->folder, "memory"));
    LS_TRY(make_set((uint64_t)o->seed, o->split, &data->train));
    LS_TRY(make_set((uint64_t)o->seed, 1, &data->test));
    LS_TRY(ls_calloc(&data->split, (size_t)o->split, sizeof *data->split, "the split"));
    for (int64_t i = 0; i < o->split; i++) data->split[i] = (uint32_t)i;
    return LS_OK;
}

/* Rank 0 looks whether there is any. */
static ls_status find_data(const ls_bench *bench, const ls_options *o, bool *found) {
    *found = bench->options.bench_data == LS_BENCH_REAL;
    if (bench->options.bench_data == LS_BENCH_AUTO && bench->comm->rank == 0) {
        ls_dataset sizes;
        char *folder;
        *found = ls_data_sizes(o->data, &sizes, &folder) == LS_OK;
        free(folder);
    }
    return ls_comm_broadcast(bench->comm, found, sizeof *found, 0);
}

ls_status ls_bench_trainer(const ls_bench *bench, ls_trainer **trainer) {
    ls_options o = {0};
    ls_data data = {0};
    bool found = false;
    *trainer = NULL;
    ls_status status = ls_comm_agree(bench->comm, ls_config_settings(bench->config, &o));
    if (status == LS_OK) status = find_data(bench, &o, &found);
    if (status == LS_OK && found) {
        status = ls_trainer_create(bench->comm, bench->config, trainer);
    } else if (status == LS_OK) {
        status = ls_comm_agree(bench->comm, make_data(&o, &data));
        if (status == LS_OK)
            status = ls_trainer_create_on(bench->comm, bench->config, &data, trainer);
        else
            ls_data_destroy(&data);
    }
    ls_keys_free(&ls_option_keys, &o);
    return status;
}

ls_status ls_bench_ceilings(const ls_bench *bench, ls_ceilings *ceilings) {
    ls_options o = {0};
    ls_shards shards; /* refuses more ranks than there are shards, before anything is measured */
    *ceilings = (ls_ceilings){0};
    ls_status status = ls_config_settings(bench->config, &o);
    if (status == LS_OK)
        status = ls_shards_create(&shards, (int)o.shards, bench->comm->rank, bench->comm->size, o.batch);
    status = ls_comm_agree(bench->comm, status);
    const int threads = (int)o.threads;
    const ls_dtype dtype = o.precision == LS_PRECISION_FP64 ? LS_FP64 : LS_FP32;
    ls_keys_free(&ls_option_keys, &o);
    return status == LS_OK
               ? ls_ceilings_create(bench->comm, threads, dtype, bench->options.bench_copy, ceilings)
               : status;
}

/* --- operations ------------------------------------------------------------------------------------ */

ls_work_count ls_op_work(const ls_trainer *t, const ls_op *op) {
    ls_work_count work = {0};
    for (int k = 1; k < LS_MAX_INPUTS && op->in[k]; k++) {
        if (op->in[k]->parameter < 0) continue;
        const ls_parameter *p = &t->network->parameters.list[op->in[k]->parameter];
        const double flop = 2 * (double)ls_parameter_products(p, ls_tensor_pixels(op->out));
        work.forward += flop;
        work.weight_grad += flop;
        if (op->in[0]->requires_grad) work.backward += flop;
    }
    if (op->class->backward_sums_weights && op->class->backward_sums_weights(op)) {
        work.backward += work.weight_grad;
        work.weight_grad = 0;
    }
    return work;
}

double ls_trainer_work(const ls_trainer *t) {
    double sum = 0;
    for (int i = 0; i < ls_graph_op_count(t->training.graph); i++) {
        const ls_work_count work = ls_op_work(t, ls_graph_op(t->training.graph, i));
        sum += work.forward + work.backward + work.weight_grad;
    }
    return sum;
}

/* --- the setting ----------------------------------------------------------------------------------- */

static const char *precision_of(const ls_trainer *t, char *text, size_t size) {
    ls_key_format(ls_key_find(&ls_option_keys, "precision"), &t->options, text, size);
    return text;
}

void ls_bench_write_setting(const ls_bench *bench, const ls_trainer *t, ls_json *json) {
    char processor[128], precision[32];
    ls_json_text(json, "config", bench->config_path);
    ls_json_text(json, "data_set", t->data.name);
    ls_json_count(json, "samples", (uint64_t)t->data.training);
    ls_json_count(json, "ranks", (uint64_t)t->comm->size);
    ls_json_count(json, "ranks_on_node", (uint64_t)t->comm->ranks_on_host);
    ls_json_count(json, "threads", (uint64_t)t->options.threads);
    ls_json_text(json, "comm", t->comm->class->name);
    ls_json_text(json, "precision", precision_of(t, precision, sizeof precision));
    ls_json_text(json, "backend", t->backend->name);
    ls_json_text(json, "instruction_set", ls_instruction_set_name(t->backend->instruction_set));
    ls_json_count(json, "batch", (uint64_t)t->options.batch);
    ls_json_count(json, "shards", (uint64_t)t->options.shards);
    ls_json_real(json, "augment", t->options.augment);
    ls_json_count(json, "parameters", (uint64_t)t->network->parameters.elements);
    ls_json_real(json, "flop_per_image", ls_trainer_work(t));
    ls_json_text(json, "processor", ls_machine_processor(processor, sizeof processor));
    ls_json_count(json, "cores", (uint64_t)ls_available_cores());
    if (*t->why_device) ls_json_text(json, "device", t->why_device);
}

void ls_bench_print_setting(const ls_bench *bench, const ls_trainer *t) {
    char processor[128], precision[32];
    printf("%s on %s data: batch %lld in %lld shards, %d rank%s of %lld thread%s, %s, %s kernels\n",
           bench->config_path, t->data.name, (long long)t->options.batch, (long long)t->options.shards,
           t->comm->size, t->comm->size == 1 ? "" : "s", (long long)t->options.threads,
           t->options.threads == 1 ? "" : "s", precision_of(t, precision, sizeof precision),
           t->gpu ? "cuda" : ls_instruction_set_name(t->backend->instruction_set));
    if (*t->why_device) printf("device %s\n", t->why_device);
    ls_instruction_set own;
    const char *why;
    if (!t->gpu && t->backend->precision == LS_PRECISION_BF16 &&
        ls_instruction_set_choose_bf16(&own, &why) == LS_OK)
        printf("this processor's choice for bf16: %s (%s)\n", ls_instruction_set_name(own), why);
    printf("%lld parameters, %.4g MFLOP an image; %s, %d core%s for rank 0\n",
           (long long)t->network->parameters.elements, 1e-6 * ls_trainer_work(t),
           ls_machine_processor(processor, sizeof processor), ls_available_cores(),
           ls_available_cores() == 1 ? "" : "s");
}
