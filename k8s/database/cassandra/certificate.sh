#!/bin/bash
# Makes a node's certificate at each start, signed by the authority of the Secret cassandra-authority. It names the address
# of the pod, which is new each time and which clients check. The database itself never sees the authority's key.
set -eu
authority=$CASSANDRA_AUTHORITY
tls=$CASSANDRA_TLS
days=397
names="san=ip:$POD_IP,dns:${HOSTNAME},dns:${HOSTNAME}.cassandra"

rm -f "$tls"/*
umask 077
# Protects a store that is in memory and of this pod only; the entry point wants one.
od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$tls/password"
node=(-keystore "$tls/node.p12" -storetype PKCS12 -storepass:file "$tls/password")
ca=(-keystore "$authority/ca.p12" -storetype PKCS12 -storepass:file "$authority/password")
keytool -genkeypair "${node[@]}" -alias node -keyalg EC -groupname secp256r1 -dname "CN=$HOSTNAME" -validity "$days" -ext "$names"
keytool -certreq "${node[@]}" -alias node -file "$tls/node.csr"
keytool -gencert "${ca[@]}" -alias ca -infile "$tls/node.csr" -outfile "$tls/node.pem" -rfc -validity "$days" \
    -ext "$names" -ext ku=digitalSignature -ext eku=serverAuth,clientAuth
keytool -importcert "${node[@]}" -alias ca -file "$authority/ca.pem" -noprompt
keytool -importcert "${node[@]}" -alias node -file "$tls/node.pem"
keytool -importcert -keystore "$tls/trust.p12" -storetype PKCS12 -storepass:file "$tls/password" -alias ca \
    -file "$authority/ca.pem" -noprompt
cp "$authority/ca.pem" "$tls/ca.pem"
rm "$tls/node.csr" "$tls/node.pem"
