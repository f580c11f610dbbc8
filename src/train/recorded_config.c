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
