/* The tables that the tests of the configuration share: the run's own options, and layers as the MLP needs
 * them, declared here so that these tests do not wait for any layer. */
#ifndef LOCKSTEP_TESTS_IO_CONFIG_TABLES_H
#define LOCKSTEP_TESTS_IO_CONFIG_TABLES_H

#include "io/config.h"
#include "train/options.h"

#include <math.h>

typedef struct batchnorm_settings {
    double eps, momentum;
    bool affine;
    int statistics;
    char *name;
} batchnorm_settings;

typedef struct dense_settings {
    int64_t units;
    bool bias;
    int init;
    char *name;
} dense_settings;

typedef struct dropout_settings {
    double rate;
    char *name;
} dropout_settings;

typedef struct named_settings {
    char *name;
} named_settings;

#define NAME(settings)                                                                                       \
    { .name = "name", .type = LS_KEY_STRING, .offset = offsetof(settings, name), .initial = "" }

static const ls_key batchnorm_rows[] = {
    {.name = "eps",
     .type = LS_KEY_REAL,
     .offset = offsetof(batchnorm_settings, eps),
     .initial = "1e-5",
     .min = 0,
     .max = 1},
    {.name = "affine",
     .type = LS_KEY_BOOL,
     .offset = offsetof(batchnorm_settings, affine),
     .initial = "true"},
    {.name = "statistics",
     .type = LS_KEY_CHOICE,
     .offset = offsetof(batchnorm_settings, statistics),
     .initial = "exponential",
     .choices = "exponential|cumulative|dataset"},
    {.name = "momentum",
     .type = LS_KEY_REAL,
     .offset = offsetof(batchnorm_settings, momentum),
     .initial = "0.1",
     .min = 0,
     .max = 1},
    NAME(batchnorm_settings),
};

static const ls_key dense_rows[] = {
    {.name = "units",
     .type = LS_KEY_INT,
     .offset = offsetof(dense_settings, units),
     .min = 1,
     .max = 1e6,
     .help = "number of outputs"},
    {.name = "bias", .type = LS_KEY_BOOL, .offset = offsetof(dense_settings, bias), .initial = "true"},
    {.name = "init",
     .type = LS_KEY_CHOICE,
     .offset = offsetof(dense_settings, init),
     .initial = "xavier",
     .choices = "xavier|kaiming|xavier_published|kaiming_published|normal|torch"},
    NAME(dense_settings),
};

static const ls_key dropout_rows[] = {
    {.name = "rate",
     .type = LS_KEY_REAL,
     .offset = offsetof(dropout_settings, rate),
     .min = 0,
     .max = LS_KEY_BELOW_ONE,
     .help = "probability that a value is dropped"},
    NAME(dropout_settings),
};

static const ls_key named_rows[] = {NAME(named_settings)};

static const ls_key residual_rows[] = {
    {.name = "body", .type = LS_KEY_LAYERS, .min = 1, .help = "the layers"},
    {.name = "shortcut", .type = LS_KEY_LAYERS, .initial = "[]"},
    NAME(named_settings),
};

static const ls_key sequential_rows[] = {
    {.name = "layers", .type = LS_KEY_LAYERS, .min = 1, .help = "the layers"},
    NAME(named_settings),
};

enum { BATCHNORM, DENSE, RELU, TANH, DROPOUT, FLATTEN, RESIDUAL, SEQUENTIAL, LAYER_TYPES };
static const ls_layer_keys layer_types[LAYER_TYPES] = {
    {"batchnorm", {batchnorm_rows, 5}}, {"dense", {dense_rows, 4}},           {"relu", {named_rows, 1}},
    {"tanh", {named_rows, 1}},          {"dropout", {dropout_rows, 2}},       {"flatten", {named_rows, 1}},
    {"residual", {residual_rows, 3}},   {"sequential", {sequential_rows, 2}},
};

#endif
