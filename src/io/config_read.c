/* Which settings anything reads. */
#include <stdio.h>

#include "io/config_merge.h"

const char *ls_section_text(const ls_section *own, const ls_section *defaults, int i) {
    if (own->settings[i].text) return own->settings[i].text;
    if (defaults && defaults->settings[i].text) return defaults->settings[i].text;
    return own->table->keys[i].initial;
}

/* The key that the condition of key i names, or -1. */
static int condition_of(const ls_key_table *table, int i) {
    const char *name = table->keys[i].when.key;
    const ls_key *found = name ? ls_key_find(table, name) : NULL;
    return found ? (int)(found - table->keys) : -1;
}

/* The key whose value is why key i is not read, or -1: it is read. */
static int not_read_for(const ls_section *own, const ls_section *defaults, int i) {
    const int other = condition_of(own->table, i);
    if (other < 0) return -1;
    const int further = not_read_for(own, defaults, other);
    if (further >= 0) return further;
    const char *value = ls_section_text(own, defaults, other);
    return value && ls_key_condition_holds(&own->table->keys[i], value) ? -1 : other;
}

bool ls_section_reads(const ls_section *own, const ls_section *defaults, int i) {
    return not_read_for(own, defaults, i) < 0;
}

/* `at`: where key i was set. */
static ls_status refuse(const ls_section *own, const ls_section *defaults, int i, const char *prefix,
                        const char *at) {
    const int other = not_read_for(own, defaults, i);
    const ls_key *keys = own->table->keys;
    int direct = i; /* the last of the chain of conditions that does not hold */
    while (condition_of(own->table, direct) != other) direct = condition_of(own->table, direct);
    const char *where = own->settings[other].position;
    if (!where && defaults) where = defaults->settings[other].position;
    char condition[200], value[80];
    ls_key_excerpt(ls_section_text(own, defaults, other), value, sizeof value);
    return ls_fail(LS_USAGE, "%s: %s%s: would not be read: that needs %s, and here %s is %s (%s)", at, prefix,
                   keys[i].name, ls_key_condition_text(&keys[direct], condition, sizeof condition),
                   keys[other].name, value, where ? where : "the default");
}

static ls_status check_section(const ls_section *own, const ls_section *defaults, const char *prefix) {
    for (int i = 0; i < own->table->count; i++)
        if (own->settings[i].own && !ls_section_reads(own, defaults, i))
            return refuse(own, defaults, i, prefix, own->settings[i].position);
    return LS_OK;
}

/* A setting of `defaults` is read if one layer takes it from there. A file may have some for layers that the
 * network happens not to have; on the command line nobody means that. */
static ls_status check_default(const ls_config *config, int type, int i) {
    const ls_section *defaults = &config->defaults[type];
    const ls_config_layer *last = NULL;
    for (int n = 0; n < config->layer_count; n++) {
        const ls_config_layer *layer = config->flat[n];
        if (layer->type != type || layer->own.settings[i].text) continue;
        if (ls_section_reads(&layer->own, defaults, i)) return LS_OK;
        last = layer;
    }
    char prefix[80];
    snprintf(prefix, sizeof prefix, "defaults.%.60s.", config->types[type].name);
    if (last) return refuse(&last->own, defaults, i, prefix, defaults->settings[i].position);
    if (defaults->settings[i].command == 0) return LS_OK;
    return ls_fail(LS_USAGE, "%s: %s%s: would not be read: no %s layer of the network leaves it open",
                   defaults->settings[i].position, prefix, defaults->table->keys[i].name,
                   config->types[type].name);
}

ls_status ls_config_check_read(const ls_config *config) {
    char prefix[64];
    LS_TRY(check_section(&config->run, NULL, ""));
    for (int n = 0; n < config->layer_count; n++) {
        const ls_config_layer *layer = config->flat[n];
        snprintf(prefix, sizeof prefix, "%.60s.", config->types[layer->type].name);
        LS_TRY(check_section(&layer->own, &config->defaults[layer->type], prefix));
    }
    for (int t = 0; t < config->type_count; t++)
        for (int i = 0; i < config->defaults[t].table->count; i++)
            if (config->defaults[t].settings[i].own) LS_TRY(check_default(config, t, i));
    return LS_OK;
}
