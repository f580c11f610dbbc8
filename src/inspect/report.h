/* The two ways inspect tells what it found. Internal to src/inspect. */
#ifndef LOCKSTEP_INSPECT_REPORT_H
#define LOCKSTEP_INSPECT_REPORT_H

#include <stdio.h>

#include "inspect/subject.h"

/* Of a run, metrics or a checkpoint. */
void ls_report_text(const ls_subject *subject, FILE *out);
void ls_report_json(const ls_subject *subject, FILE *out);
/* Text of several lines, each moved to the right. */
void ls_report_indented(const char *text, FILE *out);

/* Of what eval or attack wrote (result_report.c). */
void ls_result_report_text(const ls_saved_result *result, FILE *out);
void ls_result_report_json(const ls_saved_result *result, FILE *out);

#endif
