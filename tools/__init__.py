"""The command `shmbus`: one file a command.

shmbus_entry   where the command begins: Ctrl-C ends it from there on
main       finds the command, turns errors into one line and a status
up tail topics collectors down doctor config systemd_unit bench
           the commands, each `add_arguments(parser)` and `run(arguments) -> status`

snapshot   what shared memory says about a bus: attaches and reads, never asks; works on a dead system too
look       that, or what the coordinator says to those who may not read all of the memory
meter      two readings make rates, totals and a verdict
dashboard  that as a live table      lines   that as log lines      screen   the thread that shows either
event      an event in one line, and as JSON      types   message types that only the bus knows
table      tables of fixed columns      text   numbers, sizes, times, and text that is safe to print
options    options that several commands have      output   standard output whose reader has gone
"""
