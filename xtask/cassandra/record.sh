#!/bin/bash
# Stands before a program in PATH under its name: writes down what `ps` would show of it, then becomes it.
set -eu
printf '%s\n' "${0##*/} $*" >>"${0%/*}/../commands"
PATH=${PATH#*:}
exec "${0##*/}" "$@"
