#!/bin/sh
# Makes the inputs that fuzzing starts from, with openssl: `seeds.sh DIRECTORY`.
set -eu

directory=${1:?usage: seeds.sh DIRECTORY}
rm -rf "$directory"
mkdir -p "$directory/pem_chain" "$directory/certificate_request" "$directory/ocsp_request"
cd "$directory"
exec 2>seeds.log

key() { openssl genpkey -out "$@"; }

ec() { key "$1.key" -algorithm EC -pkeyopt "ec_paramgen_curve:$2"; }

ec p256 P-256
ec p384 P-384
ec p521 P-521
key ed25519.key -algorithm ED25519
key rsa.key -algorithm RSA -pkeyopt rsa_keygen_bits:2048
ec root P-256
ec issuing P-256

# Keys in every form that is read or refused.
openssl rsa -in rsa.key -traditional -out pem_chain/rsa-pkcs1
openssl ec -in p384.key -out pem_chain/p384-sec1
openssl pkcs8 -topk8 -in p256.key -passout pass:secret -out pem_chain/encrypted
openssl ecparam -name prime256v1 -genkey -out pem_chain/ec-with-parameters

openssl req -x509 -key root.key -subj "/C=DE/O=Example/CN=Root" -days 3650 -out root.pem \
    -addext keyUsage=critical,keyCertSign,cRLSign
openssl req -x509 -CA root.pem -CAkey root.key -key issuing.key -subj "/CN=Issuing" -days 365 \
    -out issuing.pem -addext keyUsage=critical,keyCertSign,cRLSign

names="DNS:example.org,DNS:*.example.org,IP:192.0.2.1,IP:2001:db8::1,email:a@example.org"
for name in p256 p384 p521 ed25519 rsa; do
    openssl req -new -key "$name.key" -subj "/O=Example, Inc./CN=$name.example.org" \
        -addext "subjectAltName=$names" -out "certificate_request/$name.pem"
    openssl req -in "certificate_request/$name.pem" -outform DER \
        -out "certificate_request/$name.der"
    openssl x509 -req -in "certificate_request/$name.pem" -CA issuing.pem -CAkey issuing.key \
        -days 90 -copy_extensions copyall -out "$name.pem"
    cat "$name.key" "$name.pem" issuing.pem root.pem >"pem_chain/$name"
done
# Out of order, with a stranger.
cat p384.pem root.pem issuing.pem p256.pem p256.key >pem_chain/shuffled
openssl req -new -key p256.key -subj / -out certificate_request/bare

for hash in sha1 sha256 sha384 sha512; do
    openssl ocsp "-$hash" -issuer issuing.pem -cert p256.pem -reqout "ocsp_request/$hash"
    openssl ocsp "-$hash" -issuer issuing.pem -serial 0x1234 -cert rsa.pem -no_nonce \
        -reqout "ocsp_request/$hash-several"
done
openssl ocsp -issuer issuing.pem -cert p256.pem -signer p256.pem -signkey p256.key \
    -reqout ocsp_request/signed
