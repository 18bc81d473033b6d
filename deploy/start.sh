#!/bin/sh
# What every certflow container starts with: nothing it writes is readable for others, and nothing dumps core.
set -eu
umask 077
ulimit -c 0
exec "$@"
