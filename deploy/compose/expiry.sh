#!/bin/sh
# expiry.sh FOLDER [--once]: every hour, removes files below FOLDER that are older than MILLRACE_S3_TEMP_DAYS [7], and
# folders that are empty.
# expiry.sh --looked-lately: ends 0 if that was done within the last two hours.
set -eu
looked=${TMPDIR:-/tmp}/looked
days=${MILLRACE_S3_TEMP_DAYS:-7}

if [ "$1" = --looked-lately ]; then
  [ -n "$(find "$looked" -mmin -120 2>/dev/null)" ] || { echo "Nothing was looked through for two hours." >&2; exit 1; }
  exit 0
fi

trap 'exit 0' TERM INT
while true; do
  if [ -d "$1" ]; then
    find "$1" -type f -mtime "+$((days - 1))" -exec rm -f {} + # BusyBox may have no -delete
    find "$1" -mindepth 1 -depth -type d -mmin +60 -exec rmdir {} + 2>/dev/null || true # those that are not empty stay
  fi
  touch "$looked"
  [ "${2:-}" = --once ] && exit 0
  sleep 3600 &
  wait $!
done
