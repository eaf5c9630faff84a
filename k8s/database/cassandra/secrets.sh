#!/bin/bash
# Makes the secrets of the database and of its clients, once: an authority for certificates (its key goes to the nodes'
# init container only), and passwords for people, for servers and for their migration. Nothing is written to disk outside of
# a folder that is deleted, and nothing that is there is replaced. Needs openssl and kubectl; KUBECTL=… names another one.
set -eu
kubectl=${KUBECTL:-kubectl}
database=${DATABASE_NAMESPACE:-bareme-db}
servers=${SERVER_NAMESPACE:-bareme}
if $kubectl --namespace "$database" get secret cassandra-authority >/dev/null 2>&1; then
    echo "secrets.sh: the secrets are there; to make new ones delete cassandra-authority and cassandra-roles in" >&2
    echo "$database, bareme-cassandra and bareme-cassandra-migrate in $servers, and restart nodes and servers" >&2
    exit 1
fi
umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for name in password admin-password bareme-password migrate-password; do
    openssl rand -hex 24 | tr -d '\n' >"$name"
done
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj '/CN=bareme database' -out ca.pem \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
openssl pkcs12 -export -name ca -inkey ca.key -in ca.pem -out ca.p12 -passout file:password

secret() {
    local namespace=$1 name=$2
    shift 2
    $kubectl --namespace "$namespace" create secret generic "$name" "$@"
}
for namespace in "$database" "$servers"; do
    $kubectl get namespace "$namespace" >/dev/null 2>&1 || $kubectl create namespace "$namespace"
done
secret "$servers" bareme-cassandra --from-file=password=bareme-password --from-file=ca.pem
secret "$servers" bareme-cassandra-migrate --from-file=password=migrate-password --from-file=ca.pem
secret "$database" cassandra-roles --from-file=admin-password --from-file=bareme-password \
    --from-file=migrate-password --from-file=ca.pem
# Last: that it is there says that all are.
secret "$database" cassandra-authority --from-file=ca.p12 --from-file=ca.pem --from-file=password
