#!/bin/bash
# Plays kubectl for k8s/database/cassandra/secrets.sh: a Secret is a folder, SECRETS/NAMESPACE/NAME, a key of it a file.
set -eu
[ "$1" != --namespace ] || { namespace=$2; shift 2; }
case "$1 $2" in
    "get secret") [ -d "$SECRETS/$namespace/$3" ] ;;
    "get namespace") [ -d "$SECRETS/$3" ] ;;
    "create namespace") mkdir -p "$SECRETS/$3" ;;
    "create secret")
        folder="$SECRETS/$namespace/$4"
        shift 4
        mkdir "$folder"
        for file; do
            # --from-file=KEY=FILE, or --from-file=FILE
            pair=${file#--from-file=}
            cp "${pair#*=}" "$folder/${pair%%=*}"
        done
        ;;
    *)
        echo "kubectl.sh: does not know $*" >&2
        exit 1
        ;;
esac
