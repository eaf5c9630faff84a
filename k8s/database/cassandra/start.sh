#!/bin/bash
# Starts the official image with what the environment variables of its entry point cannot say: a commit log that is synced
# before a write is acknowledged, a rack of its own for each node, and, where CASSANDRA_TLS names the folder that
# certificate.sh filled, passwords, permissions, and TLS between nodes and to clients. For k8s/database/cassandra and
# compose.yaml.
set -eu
conf="${CASSANDRA_CONF:-/etc/cassandra}/cassandra.yaml"

sed -i -E \
    -e 's/^commitlog_sync:.*/commitlog_sync: group\ncommitlog_sync_group_window: 10ms/' \
    -e '/^commitlog_sync_group_window:/d' \
    -e 's/^(commitlog_sync_period:.*)/# \1/' \
    -e 's/^#? ?batch_size_warn_threshold:.*/batch_size_warn_threshold: 32KiB/' \
    "$conf"
# What the promise rests on is looked at, not assumed.
grep -qx 'commitlog_sync: group' "$conf" && ! grep -q '^commitlog_sync_period:' "$conf" || {
    echo "start.sh: cannot set commitlog_sync in $conf: is this another version of Cassandra?" >&2
    exit 1
}

if [ -n "${CASSANDRA_TLS:-}" ]; then
    password=$(cat "$CASSANDRA_TLS/password")
    # The blocks of the image's file that say otherwise go, and those of an earlier start of this container.
    awk '/^[a-z_]+:/ {
            split($0, part, ":")
            gone = part[1] ~ /^(authenticator|authorizer|server_encryption_options|client_encryption_options|default_keyspace_rf)$/
        }
        !gone' "$conf" >"$conf.new"
    cat "$conf.new" - >"$conf" <<EOF_OPTIONS
authenticator:
  class_name: PasswordAuthenticator
authorizer:
  class_name: CassandraAuthorizer
default_keyspace_rf: 3
server_encryption_options:
  internode_encryption: all
  optional: false
  require_client_auth: true
  keystore: $CASSANDRA_TLS/node.p12
  keystore_password: $password
  truststore: $CASSANDRA_TLS/trust.p12
  truststore_password: $password
  store_type: PKCS12
client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: false
  keystore: $CASSANDRA_TLS/node.p12
  keystore_password: $password
  truststore: $CASSANDRA_TLS/trust.p12
  truststore_password: $password
  store_type: PKCS12
EOF_OPTIONS
    rm "$conf.new"
    # Passwords are on as many nodes as everything else, from the first start on.
    export JVM_EXTRA_OPTS="${JVM_EXTRA_OPTS:-} -Dcassandra.system_auth.default_rf=3"
fi

# On Kubernetes the node's number is at the end of its name.
case "${HOSTNAME:-}" in
    *-[0-9]*) export CASSANDRA_RACK="rack$((${HOSTNAME##*-} + 1))" ;;
esac
exec "${CASSANDRA_ENTRYPOINT:-docker-entrypoint.sh}" cassandra -f
