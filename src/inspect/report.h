/* The two ways inspect tells what it found. Internal to src/inspect. */
#ifndef LOCKSTEP_INSPECT_REPORT_H
#define LOCKSTEP_INSPECT_REPORT_H

#include <stdio.h>

#include "inspect/subject.h"

void ls_report_text(const ls_subject *subject, FILE *out);
void ls_report_json(const ls_subject *subject, FILE *out);

#endif
