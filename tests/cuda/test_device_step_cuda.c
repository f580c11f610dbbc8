/* Steps that a device takes by itself: what a recording may hold, that it does not depend on the step, and
 * what becomes of a step that is not taken while others have been begun behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vector.h"
#include "core/backend_cuda.h"
#include "emulated.h"
#include "layers/layer.h"
#include "orders.h"
#include "train/device_step.h"
#include "train/step_cuda.h"

/* --- recordings ------------------------------------------------------------------------------------------- */

enum { COUNT = 100 };

typedef struct machine {
    const ls_backend *backend;
    float *x, *y; /* [COUNT], of the device */
    float *host;  /* page-locked */
} machine;

static machine start_machine(void) {
    struct ls_device *device;
    machine m;
    assert_int_equal(ls_device_create(0, &device), LS_OK);
    assert_int_equal(ls_backend_cuda_create(device, LS_PRECISION_FP32, LS_PORTABLE, &m.backend), LS_OK);
    assert_int_equal(m.backend->allocate(m.backend, &m.x, COUNT * sizeof *m.x, "x"), LS_OK);
    assert_int_equal(m.backend->allocate(m.backend, &m.y, COUNT * sizeof *m.y, "y"), LS_OK);
    assert_int_equal(m.backend->allocate_host(m.backend, &m.host, COUNT * sizeof *m.host, "host"), LS_OK);
    return m;
}

static void stop_machine(machine *m) {
    m->backend->release(m->backend, m->x);
    m->backend->release(m->backend, m->y);
    m->backend->release_host(m->backend, m->host);
    ls_backend_cuda_destroy(&m->backend);
}

static ls_status fill_and_add(void *argument) {
    const machine *m = argument;
    const ls_lane lane = {.device = m->backend->device};
    ls_vector_ref_cuda.fill(COUNT, 3, m->x, &lane);
    ls_vector_ref_cuda.add(COUNT, m->x, m->y, &lane);
    return LS_OK;
}

static float first_of(const machine *m, const float *x) {
    float value;
    assert_int_equal(m->backend->download(m->backend, &value, x, sizeof value), LS_OK);
    return value;
}

/* It runs when it is replayed, and then as often as that. */
static void test_replay(void **state) {
    machine m = start_machine();
    ls_replay *replay;
    (void)state;
    assert_int_equal(ls_device_record(m.backend->device, fill_and_add, &m, &replay), LS_OK);
    assert_int_equal(ls_emulated_recorded_work(), 2);
    assert_true(first_of(&m, m.x) == 0 && first_of(&m, m.y) == 0);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(ls_device_replay(m.backend->device, replay), LS_OK);
        assert_true(first_of(&m, m.x) == 3 && first_of(&m, m.y) == (float)(3 * i));
    }
    ls_device_forget(m.backend->device, &replay);
    assert_null(replay);
    stop_machine(&m);
}

static ls_status allocates(void *argument) {
    const machine *m = argument;
    void *memory;
    (void)fill_and_add(argument);
    return m->backend->allocate(m->backend, &memory, 64, "more") == LS_OK ? LS_OK : LS_INTERNAL;
}
static ls_status frees(void *argument) {
    machine *m = argument;
    void *memory = m->y;
    m->backend->release(m->backend, memory);
    return LS_OK;
}
static ls_status waits(void *argument) {
    const machine *m = argument;
    (void)fill_and_add(argument);
    return m->backend->finish(m->backend);
}
static ls_status downloads(void *argument) {
    const machine *m = argument;
    float value;
    return m->backend->download(m->backend, &value, m->x, sizeof value);
}
static ls_status uploads(void *argument) { /* of memory that is not page-locked, without waiting for it */
    const machine *m = argument;
    static const float value = 1;
    return ls_device_send(m->backend->device, m->x, &value, sizeof value);
}
static ls_status reads_words(void *argument) {
    const machine *m = argument;
    const ls_lane lane = {.device = m->backend->device};
    (void)ls_vector_ref_cuda.finite(COUNT, m->x, &lane);
    return LS_OK;
}
static ls_status marks(void *argument) {
    const machine *m = argument;
    return ls_device_mark(m->backend->device, 0);
}

/* What no recording can hold ends it, with a message; the device has failed then. */
static void test_refused(void **state) {
    static const struct {
        const char *what;
        ls_status (*body)(void *argument);
    } cases[] = {{"an allocation", allocates},
                 {"a release", frees},
                 {"waiting", waits},
                 {"a copy back", downloads},
                 {"a copy of words", uploads},
                 {"words for the host", reads_words},
                 {"a mark", marks}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        machine m = start_machine();
        ls_replay *replay;
        if (ls_device_record(m.backend->device, cases[i].body, &m, &replay) == LS_OK)
            fail_msg("%s is recorded", cases[i].what);
        assert_non_null(strstr(ls_error_message(), "captur"));
        assert_null(replay);
        stop_machine(&m);
    }
}

/* Page-locked memory is read when the stream comes to it, and each mark waits for what lies before it alone. */
static void test_marks(void **state) {
    machine m = start_machine();
    struct ls_device *device = m.backend->device;
    (void)state;
    for (int i = 0; i < LS_DEVICE_MARKS; i++) {
        m.host[i] = (float)(i + 1);
        assert_int_equal(ls_device_send(device, m.x, &m.host[i], sizeof *m.host), LS_OK);
        m.host[50 + i] = 0;
        assert_int_equal(ls_device_fetch(device, &m.host[50 + i], m.x, sizeof *m.host), LS_OK);
        assert_int_equal(ls_device_mark(device, i), LS_OK);
    }
    for (int i = 0; i < LS_DEVICE_MARKS; i++) {
        assert_int_equal(ls_device_wait(device, i), LS_OK);
        assert_true(m.host[50 + i] == (float)(i + 1));
        assert_true(i + 1 == LS_DEVICE_MARKS || m.host[50 + i + 1] == 0);
        if (i + 1 < LS_DEVICE_MARKS) m.host[i + 1] = (float)(i + 2); /* it has not been read */
    }
    stop_machine(&m);
}

/* --- the verdict ------------------------------------------------------------------------------------------ */

static void judge(int64_t count, int64_t bad, double loss, bool halted, ls_verdict verdict, int parameter) {
    enum { PARAMETERS = 4 };
    const ls_cuda_range ranges[PARAMETERS] = {
        {count / 2, count * 3 / 4}, {count * 3 / 4, count}, {0, count / 4}, {count / 4, count / 2}};
    const ls_backend *b = emulated_backend();
    const double losses[] = {loss, 17};
    ls_now now = {
        .state = {.lowest = INT32_MAX, .halted = halted, .guard = 5}, .in.step = 41, .left.before = 3};
    float *gradient = calloc((size_t)count + 1, sizeof *gradient);
    assert_non_null(gradient);
    if (bad >= 0) gradient[bad] = bad % 2 ? INFINITY : NAN;
    if (bad >= 0) gradient[count - 1] = -INFINITY; /* of parameter 1 */
    const ls_cuda_judgement j = {.count = count,
                                 .gradient = to_device(gradient, ((size_t)count + 1) * sizeof *gradient),
                                 .losses = to_device(losses, sizeof losses),
                                 .parameters = PARAMETERS,
                                 .ranges = to_device(ranges, sizeof ranges),
                                 .now = to_device(&now, sizeof now)};
    for (int turn = 0; turn < 2; turn++) {
        ls_judge_cuda(b->device, &j);
        read_device(&now, j.now, sizeof now);
        assert_int_equal(now.left.verdict, verdict);
        assert_int_equal(now.left.parameter, parameter);
        assert_int_equal(now.left.step, 41);
        assert_true(now.left.correct == 17 && now.left.before == 0 && now.state.guard == 5);
        assert_int_equal(now.state.halted, verdict != LS_VERDICT_TAKEN);
        if (verdict != LS_VERDICT_TAKEN) verdict = LS_VERDICT_TROUBLE; /* of what comes behind */
    }
    free_device((void *)(uintptr_t)j.gradient);
    free_device((void *)(uintptr_t)j.losses);
    free_device((void *)(uintptr_t)j.ranges);
    free_device(j.now);
    free(gradient);
}

static void test_verdict(void **state) {
    static const int64_t counts[] = {16, 32, 64, 500, 256 * 4, 5000};
    (void)state;
    for (int order = 0; order < ORDERS; order++) {
        set_order(order);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            const int64_t n = counts[i];
            judge(n, -1, 2.5, false, LS_VERDICT_TAKEN, -1);
            judge(n, -1, (double)NAN, false, LS_VERDICT_LOSS, -1);
            judge(n, -1, (double)INFINITY, false, LS_VERDICT_LOSS, -1);
            judge(n, -1, 2.5, true, LS_VERDICT_TROUBLE, -1);
            judge(n, n / 2, 2.5, false, LS_VERDICT_GRADIENT, 0);
            judge(n, n * 3 / 4 - 1, 2.5, false, LS_VERDICT_GRADIENT, 0);
            judge(n, 0, 2.5, false, LS_VERDICT_GRADIENT, 1);
            judge(n, n / 4, (double)NAN, false, LS_VERDICT_LOSS, 1);
            judge(n, n - 1, 2.5, true, LS_VERDICT_TROUBLE, 1);
        }
    }
    judge(700000, 350000, 2.5, false, LS_VERDICT_GRADIENT, 0); /* more than the grid has threads */
}

/* --- a trainer -------------------------------------------------------------------------------------------- */

static const char text[] =
    "split: 100\nbatch: 40\neval_batch: 40\naugment: 0.5\noptimizer: adam\ncheck_interval: 4\n"
    "schedule: exponential\n"
    "network: [flatten, batchnorm, {dense: {units: 12}}, batchnorm, relu, {dropout: {rate: 0.5}}, {dense: "
    "{units: 10}}]\n";

typedef struct setup {
    ls_comm *comm;
    ls_config *config;
    ls_trainer *trainer;
} setup;

static setup train(const char *const *words, int count) {
    static ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    char data[4096];
    const char *settings[8] = {data, "comm=self"};
    setup s;
    assert_non_null(getenv("LOCKSTEP_MADE_DATA"));
    snprintf(data, sizeof data, "data=%s", getenv("LOCKSTEP_MADE_DATA"));
    for (int i = 0; i < count; i++) settings[2 + i] = words[i];
    ls_network_layer_keys(layers);
    assert_int_equal(ls_comm_create_self(&s.comm), LS_OK);
    assert_int_equal(ls_config_parse("small", text, sizeof text - 1, &ls_option_keys, layers,
                                     ls_layer_class_count, &s.config),
                     LS_OK);
    assert_int_equal(ls_config_override(s.config, settings, 2 + count), LS_OK);
    if (ls_trainer_create(s.comm, s.config, &s.trainer) != LS_OK) fail_msg("%s", ls_error_message());
    s.trainer->ahead = true;
    return s;
}

static void end(setup *s) {
    ls_trainer_destroy(&s->trainer);
    ls_config_destroy(&s->config);
    ls_comm_destroy(&s->comm);
}

static uint64_t recorded(ls_trainer *t, int64_t batch) {
    ls_replay *replay;
    assert_int_equal(ls_device_step_record(t->device_step, batch, &replay), LS_OK);
    ls_device_forget(t->gpu->device, &replay);
    return ls_emulated_recorded_hash();
}

/* The plan as it is begun where several ranks share a device: with the step as an argument. */
typedef struct by_value {
    ls_trainer *trainer;
    uint32_t step;
} by_value;

static ls_status begin_by_value(void *argument) {
    const by_value *b = argument;
    ls_trainer *t = b->trainer;
    const ls_run run = {.shards = &t->training.shards,
                        .all = &t->training.all,
                        .data = &t->train,
                        .sample = t->training.sample,
                        .step = b->step};
    return ls_plan_run(t->training.plan, &run, t->team);
}

/* What is recorded is the same at every step and in every epoch, or it could not be replayed; the test sees a
 * step that is an argument. */
static void test_same_recording(void **state) {
    static const char *const words[] = {"device=cuda"};
    setup s = train(words, 1);
    ls_trainer *t = s.trainer;
    ls_replay *replay;
    uint64_t hash[2];
    (void)state;
    const uint64_t whole = recorded(t, 40), rest = recorded(t, 20);
    if (whole == 0) { /* the compiler cannot clear what lies between the members of a struct */
        end(&s);
        skip();
    }
    assert_int_not_equal(whole, rest);
    for (int step = 0; step < 8; step++) {
        assert_int_equal(ls_train_step(t), LS_OK);
        assert_int_equal(recorded(t, 40), whole);
        assert_int_equal(recorded(t, 20), rest);
    }
    assert_int_equal(t->epoch, 2);
    for (int i = 0; i < 2; i++) {
        by_value b = {t, (uint32_t)i};
        assert_int_equal(ls_device_record(t->gpu->device, begin_by_value, &b, &replay), LS_OK);
        ls_device_forget(t->gpu->device, &replay);
        hash[i] = ls_emulated_recorded_hash();
    }
    assert_int_not_equal(hash[0], hash[1]);
    end(&s);
}

/* Recorded, begun each time, and on the processor: the same after every step at which somebody looks.
 * Recorded steps are replayed, all but the first of each size of batch. */
static void test_same_bits(void **state) {
    static const char *const ways[] = {"device=cpu", "record=off", "record=auto"};
    static const char *const words[][2] = {
        {"device=cpu", "fuse=true"}, {"device=cuda", "record=off"}, {"device=cuda", "record=auto"}};
    uint64_t found[3][3];
    (void)state;
    for (int way = 0; way < 3; way++) {
        setup s = train(words[way], 2);
        const uint64_t before = ls_emulated_replays();
        for (int step = 1; step <= 12; step++) {
            if (ls_train_step(s.trainer) != LS_OK)
                fail_msg("%s, step %d: %s", ways[way], step, ls_error_message());
            if (step % 4 == 0) found[way][step / 4 - 1] = ls_trainer_fingerprint(s.trainer);
        }
        assert_int_equal(ls_emulated_replays() - before, way == 2 ? 10 : 0);
        end(&s);
    }
    for (int way = 1; way < 3; way++)
        for (int i = 0; i < 3; i++) assert_int_equal(found[way][i], found[0][i]);
}

static ls_status spoil(const ls_parameters *p, const ls_arenas *host, void *client) {
    (void)p;
    (void)client;
    ((float *)host->value)[5] = NAN;
    return LS_OK;
}

/* Steps behind one that is not taken change nothing: the state is that of the processor, which begins none. */
static void test_not_taken(void **state) {
    static const char *const words[][2] = {{"device=cpu", "check_interval=0"},
                                           {"device=cuda", "check_interval=0"}};
    uint64_t found[2];
    int64_t steps[2];
    char message[2][512];
    (void)state;
    for (int way = 0; way < 2; way++) {
        setup s = train(words[way], 2);
        while (s.trainer->epoch < 2) assert_int_equal(ls_train_step(s.trainer), LS_OK);
        assert_int_equal(ls_parameters_use(&s.trainer->network->parameters, true, spoil, NULL), LS_OK);
        assert_int_equal(ls_train_step(s.trainer), LS_NOT_FINITE);
        snprintf(message[way], sizeof *message, "%s", ls_error_message());
        steps[way] = s.trainer->step;
        assert_int_equal(s.trainer->gpu != NULL, way);
        assert_int_equal(s.trainer->backend->finish(s.trainer->backend), LS_OK);
        found[way] = ls_trainer_fingerprint(s.trainer);
        end(&s);
    }
    assert_string_equal(message[0], message[1]);
    assert_int_equal(steps[0], steps[1]);
    assert_int_equal(found[0], found[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_marks),          cmocka_unit_test(test_verdict),
        cmocka_unit_test(test_same_recording), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
