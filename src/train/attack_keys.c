/* The keys of `lockstep attack`, and the list of its epsilons. */
#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "train/attack.h"

typedef struct attack_keys {
    char *epsilon;
    int64_t samples, examples;
} attack_keys;

static const ls_key rows[] = {
    {.name = "epsilon",
     LS_KEY_STRING,
     LS_KEY_RESULT,
     offsetof(attack_keys, epsilon),
     "0,0.05,0.1,0.15,0.2,0.25,0.3",
     0,
     0,
     NULL,
     "steps along the sign of the gradient, as parts of the range of a pixel: increasing numbers from 0 to "
     "1"},
    {.name = "samples",
     LS_KEY_INT,
     LS_KEY_RESULT,
     offsetof(attack_keys, samples),
     "0",
     0,
     1e9,
     NULL,
     "attack so many samples of the test set, from the first on; 0: all"},
    {.name = "examples",
     LS_KEY_INT,
     LS_KEY_RESULT,
     offsetof(attack_keys, examples),
     "10",
     0,
     256,
     NULL,
     "classes of which --output holds an image"},
};

const ls_key_table ls_attack_keys = {rows, sizeof rows / sizeof *rows};

/* "0,0.05" or "[0, 0.05]". */
static ls_status parse_epsilons(const char *text, ls_attack_options *options) {
    char excerpt[64];
    const char *at = text + strspn(text, " [");
    ls_key_excerpt(text, excerpt, sizeof excerpt);
    options->count = 0;
    for (bool more = true; more;) {
        char *end;
        double value = strtod(at, &end);
        bool increases = options->count == 0 || value > options->epsilon[options->count - 1];
        end += strspn(end, " ");
        more = *end == ',';
        if (end == at || !(value >= 0 && value <= 1) || !increases || (!more && end[strspn(end, " ]")]))
            return ls_fail(
                LS_USAGE,
                "command line: epsilon: found '%s', expected increasing numbers from 0 to 1 with commas "
                "between them",
                excerpt);
        if (options->count == LS_MAX_EPSILONS)
            return ls_fail(LS_USAGE, "command line: epsilon: found more than %d numbers", LS_MAX_EPSILONS);
        options->epsilon[options->count++] = value;
        at = end + more;
    }
    return LS_OK;
}

/* Without a file there is nothing that examples would go to. */
static ls_status check_examples(const ls_look *look) {
    for (int i = 0; i < look->override_count && !look->output.path; i++)
        if (strncmp(look->overrides[i], "examples=", strlen("examples=")) == 0)
            return ls_fail(LS_USAGE, "command line: %s: would not be read: that needs --output",
                           look->overrides[i]);
    return LS_OK;
}

ls_status ls_attack_options_read(const ls_look *look, ls_attack_options *options, const char **rest,
                                 int *rest_count) {
    attack_keys keys = {0};
    ls_status status = ls_keys_set_defaults(&ls_attack_keys, &keys);
    if (status == LS_OK)
        status =
            ls_keys_take(&ls_attack_keys, &keys, look->overrides, look->override_count, rest, rest_count);
    if (status == LS_OK) status = check_examples(look);
    if (status == LS_OK) status = parse_epsilons(keys.epsilon, options);
    options->samples = keys.samples;
    options->examples = keys.examples;
    ls_keys_free(&ls_attack_keys, &keys);
    return status;
}
