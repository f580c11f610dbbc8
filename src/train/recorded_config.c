#include "train/recorded_config.h"

#include <string.h>

#include "model/network.h"
#include "train/options.h"

ls_status ls_recorded_config(const char *recorded, char **today) {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config = NULL;
    *today = NULL;
    ls_network_layer_keys(layers);
    ls_status status = ls_config_parse("config/yaml", recorded, strlen(recorded), &ls_option_keys, layers,
                                       ls_layer_class_count, &config);
    if (status == LS_USAGE) return ls_strdup(today, recorded);
    if (status == LS_OK) status = ls_config_resolve_result(config, today);
    ls_config_destroy(&config);
    return status;
}

ls_status ls_recorded_config_compare(const char *whose, const char *theirs, const char *own) {
    while (*own && *theirs) {
        size_t a = strcspn(own, "\n"), b = strcspn(theirs, "\n");
        if (a != b || strncmp(own, theirs, a) != 0)
            return ls_fail(LS_USAGE,
                           "%s was trained with another configuration: there \"%.*s\", here \"%.*s\"", whose,
                           (int)b, theirs, (int)a, own);
        own += a + (own[a] == '\n');
        theirs += b + (theirs[b] == '\n');
    }
    if (*own || *theirs) return ls_fail(LS_USAGE, "%s was trained with another number of layers", whose);
    return LS_OK;
}
