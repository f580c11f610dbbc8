#include "inspect/inspect.h"

#include "inspect/report.h"

ls_status ls_inspect(const char *path, bool json, FILE *out) {
    ls_subject subject;
    LS_TRY(ls_subject_read(path, &subject));
    if (subject.result)
        (json ? ls_result_report_json : ls_result_report_text)(subject.result, out);
    else
        (json ? ls_report_json : ls_report_text)(&subject, out);
    ls_subject_destroy(&subject);
    return LS_OK;
}
