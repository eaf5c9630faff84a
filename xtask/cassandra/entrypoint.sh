#!/bin/bash
# Plays the entry point of Cassandra's image for `cargo xtask cluster --guarded`: puts what the variables say into the
# node's files, as that one does, and becomes the node.
set -eu
cd "$CASSANDRA_CONF"
for name in cluster_name endpoint_snitch num_tokens; do
    variable=CASSANDRA_${name^^}
    sed -i -E "s|^$name:.*|$name: ${!variable}|" cassandra.yaml
done
sed -i -E "s|(- seeds:).*|\1 \"$CASSANDRA_SEEDS\"|" cassandra.yaml
printf 'dc=%s\nrack=%s\n' "$CASSANDRA_DC" "$CASSANDRA_RACK" >rackdc.properties
# Options are words, as in the image.
exec java @jvm.options ${JVM_EXTRA_OPTS:-} "-Dbareme.node=$CASSANDRA_CONF" @node.options
