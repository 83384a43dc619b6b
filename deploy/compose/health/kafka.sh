#!/usr/bin/env bash
# kafka.sh PORT: whether the broker of this container answers a request of Kafka's protocol. Ends 0 or 1.
#
# A port that is open says little: the kernel accepts connections for a broker that hangs. Kafka's own scripts start a
# Java machine for the same answer, which three brokers would pay for every few seconds.
set -uo pipefail

# ApiVersions, version 0: length 10, key 18, version 0, correlation 7, no client id.
request='\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x07\xff\xff'

if ! { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null; then
  echo "127.0.0.1:$1 does not answer." >&2
  exit 1
fi
# shellcheck disable=SC2059 # the bytes are in the format
printf "$request" >&3
# Of the answer: its length (any), our correlation, no error.
answer=$(timeout 5 head -c 10 <&3 | od -An -v -tx1 | tr -d ' \n')
if [ "${answer:8}" = 000000070000 ]; then
  echo "The broker answers."
else
  echo "127.0.0.1:$1 gives no answer of a broker within 5 s." >&2
  exit 1
fi
