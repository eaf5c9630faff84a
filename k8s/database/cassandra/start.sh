#!/bin/bash
# Starts the official image with what the environment variables of its entry point cannot say: a commit log that is synced
# before a write is acknowledged, and a rack of its own for each node. For k8s/database/cassandra and compose.yaml.
set -eu
conf="${CASSANDRA_CONF:-/etc/cassandra}/cassandra.yaml"

sed -i -E \
    -e 's/^commitlog_sync:.*/commitlog_sync: group\ncommitlog_sync_group_window: 10ms/' \
    -e 's/^(commitlog_sync_period:.*)/# \1/' \
    -e 's/^#? ?batch_size_warn_threshold:.*/batch_size_warn_threshold: 32KiB/' \
    "$conf"
# What the promise rests on is looked at, not assumed.
grep -qx 'commitlog_sync: group' "$conf" && ! grep -q '^commitlog_sync_period:' "$conf" || {
    echo "start.sh: cannot set commitlog_sync in $conf: is this another version of Cassandra?" >&2
    exit 1
}

# On Kubernetes the node's number is at the end of its name.
case "${HOSTNAME:-}" in
    *-[0-9]*) export CASSANDRA_RACK="rack$((${HOSTNAME##*-} + 1))" ;;
esac
exec "${CASSANDRA_ENTRYPOINT:-docker-entrypoint.sh}" cassandra -f
