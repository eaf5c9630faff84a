#!/bin/bash
# Takes the well-known password away and makes the two roles: `admin` for people, `bareme` for servers, which owns what it
# makes and nothing else. May be repeated; a password that was changed in its Secret is set anew.
set -eu
roles=${CASSANDRA_ROLES:-/roles}
export SSL_CERTFILE="$roles/ca.pem" SSL_VALIDATE=true
umask 077

as() {
    printf '[PlainTextAuthProvider]\nusername = %s\npassword = %s\n' "$1" "$2" >/tmp/credentials
    cqlsh --ssl --credentials /tmp/credentials --request-timeout 30 cassandra-0.cassandra 9042
}

admin=$(cat "$roles/admin-password")
bareme=$(cat "$roles/bareme-password")
# Passwords of secrets.sh are hexadecimal; what could end a quotation is refused.
case "$admin$bareme" in *[!0-9A-Za-z_.-]*) echo "roles.sh: a password has other characters than a-z, 0-9, _ . -" >&2; exit 1 ;; esac

if ! as admin "$admin" <<<'SELECT now() FROM system.local;' >/dev/null 2>&1; then
    as cassandra cassandra <<<"CREATE ROLE IF NOT EXISTS admin WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = '$admin';"
fi
as admin "$admin" <<CQL
ALTER KEYSPACE system_auth WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3};
ALTER ROLE cassandra WITH SUPERUSER = false AND LOGIN = false;
CREATE ROLE IF NOT EXISTS bareme WITH LOGIN = true AND PASSWORD = '$bareme';
ALTER ROLE bareme WITH PASSWORD = '$bareme';
GRANT CREATE ON ALL KEYSPACES TO bareme;
GRANT SELECT ON KEYSPACE system_views TO bareme;
CQL
# What this is for is looked at, not assumed.
if as cassandra cassandra <<<'SELECT now() FROM system.local;' >/dev/null 2>&1; then
    echo "roles.sh: the well-known password still works" >&2
    exit 1
fi
as bareme "$bareme" <<<'SELECT now() FROM system.local;' >/dev/null
