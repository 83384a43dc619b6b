#!/usr/bin/env bash
# http.sh PORT PATH: whether this container answers a GET with 200. Ends 0 or 1. For images that have bash, and no
# program that speaks HTTP for certain.
set -uo pipefail

if ! { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null; then
  echo "127.0.0.1:$1 does not answer." >&2
  exit 1
fi
printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$2" "$1" >&3
status=$(timeout 5 head -n 1 <&3 | tr -d '\r')
case "$status" in
  "HTTP/1."?" 200"*) echo "$2 answers." ;;
  "") echo "127.0.0.1:$1 does not answer within 5 s." >&2; exit 1 ;;
  *) echo "$2 answers $status." >&2; exit 1 ;;
esac
