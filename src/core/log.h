/* Messages for people, on standard error: "lockstep: warning: ..", or "lockstep: [rank r] warning: .." where
 * there are several ranks, with the one that speaks. The log level and the rank are the only globals of the
 * library. */
#ifndef LOCKSTEP_CORE_LOG_H
#define LOCKSTEP_CORE_LOG_H

typedef enum ls_log_level { LS_LOG_ERROR, LS_LOG_WARNING, LS_LOG_INFO, LS_LOG_DEBUG } ls_log_level;

void ls_log_set_level(ls_log_level level);
void ls_log_set_rank(int rank, int size);

/* Prints one line (local, any thread; the line is written with a single call so that lines do not mix). */
void ls_log(ls_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
