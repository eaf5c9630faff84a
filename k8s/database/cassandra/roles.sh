#!/bin/bash
# Takes the well-known password away and makes the keyspace and three roles: `admin` for people; `bareme_migrate`, which
# makes tables in the keyspace; `bareme` for servers, which reads and writes there and nothing else. May be repeated; a
# password that was changed in its Secret is set anew.
set -eu
roles=$CASSANDRA_ROLES
export SSL_CERTFILE="$roles/ca.pem" SSL_VALIDATE=true
umask 077
trap 'rm -f "$HOME/credentials"' EXIT

# The password goes through a file and statements through standard input: a command line is seen by others.
as() {
    printf '[PlainTextAuthProvider]\nusername = %s\npassword = %s\n' "$1" "$2" >"$HOME/credentials"
    cqlsh --ssl --credentials "$HOME/credentials" --request-timeout 30 "$CASSANDRA_HOST" 9042
}

admin=$(cat "$roles/admin-password")
bareme=$(cat "$roles/bareme-password")
migrate=$(cat "$roles/migrate-password")
# Passwords of secrets.sh are hexadecimal; what could end a quotation is refused.
case "$admin$bareme$migrate" in *[!0-9A-Za-z_.-]*)
    echo "roles.sh: a password has other characters than a-z, 0-9, _ . -" >&2
    exit 1
    ;;
esac

if ! as admin "$admin" <<<'SELECT now() FROM system.local;' >/dev/null 2>&1; then
    as cassandra cassandra <<<"CREATE ROLE IF NOT EXISTS admin WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = '$admin';"
fi
# Who makes a keyspace owns it, and could drop it: so neither role of the servers does. MODIFY is of rows; it has TRUNCATE.
as admin "$admin" <<CQL
ALTER KEYSPACE system_auth WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3};
ALTER ROLE cassandra WITH SUPERUSER = false AND LOGIN = false;
CREATE KEYSPACE IF NOT EXISTS bareme WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3};
CREATE ROLE IF NOT EXISTS bareme_migrate WITH LOGIN = true AND PASSWORD = '$migrate';
ALTER ROLE bareme_migrate WITH PASSWORD = '$migrate';
GRANT CREATE ON KEYSPACE bareme TO bareme_migrate;
GRANT SELECT ON KEYSPACE bareme TO bareme_migrate;
GRANT MODIFY ON KEYSPACE bareme TO bareme_migrate;
CREATE ROLE IF NOT EXISTS bareme WITH LOGIN = true AND PASSWORD = '$bareme';
ALTER ROLE bareme WITH PASSWORD = '$bareme';
GRANT SELECT ON KEYSPACE bareme TO bareme;
GRANT MODIFY ON KEYSPACE bareme TO bareme;
GRANT SELECT ON TABLE system_views.settings TO bareme;
CQL
# What this is for is looked at, not assumed.
if as cassandra cassandra <<<'SELECT now() FROM system.local;' >/dev/null 2>&1; then
    echo "roles.sh: the well-known password still works" >&2
    exit 1
fi
as bareme_migrate "$migrate" <<<'SELECT now() FROM system.local;' >/dev/null
as bareme "$bareme" <<<'SELECT now() FROM system.local;' >/dev/null
