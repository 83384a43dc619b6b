#!/usr/bin/env bash
# Keeps which event of each share is the newest as a file, with kcat: kcat.sh FOLDER [TOPIC …]
#
# MILLRACE_KAFKA says where. It reads from the beginning to the end each time, without a group: reading again does no harm.
# A kcat that was built with Avro (Debian's is not) shows what is in the values: add -s value=avro -r "$MILLRACE_REGISTRY"
# and %s to the format. Any other shows keys, sizes and headers.
set -euo pipefail

folder=$1
shift
[ $# -gt 0 ] || set -- share.created media.ready transcript.ready summary.ready embedding.ready

# In a file that nobody else can read, as a process's arguments are there for all to see.
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
mark=${settings##*.} # begins a line, and nobody who writes messages knows it
{
  protocol=plaintext
  if [ "${MILLRACE_KAFKA_TLS:-}" = true ]; then protocol=ssl; fi
  if [ -n "${MILLRACE_KAFKA_CA:-}" ]; then
    protocol=ssl
    echo "ssl.ca.location=$MILLRACE_KAFKA_CA"
  fi
  if [ -n "${MILLRACE_KAFKA_USER:-}" ]; then
    protocol=sasl_$protocol
    printf '%s\n' sasl.mechanism=SCRAM-SHA-512 "sasl.username=$MILLRACE_KAFKA_USER" "sasl.password=$MILLRACE_KAFKA_PASSWORD"
  fi
  echo "security.protocol=$protocol"
  echo "isolation.level=read_committed"
} > "$settings"

for topic in "$@"; do
  mkdir -p "$folder/$topic"
  kcat -F "$settings" -b "$MILLRACE_KAFKA" -C -t "$topic" -o beginning -e -q -f "$mark\t%S\t%K\t%k\t%h\n" |
    while IFS=$'\t' read -r begins size length key headers; do
      [ "$begins" = "$mark" ] || continue # the rest of a message that has a line break in it
      file=$folder/$topic/$key.json
      # It becomes the name of a file, and anybody may have written it; a tab in it would make it end too early.
      if [[ ! $key =~ ^[0-9A-Za-z|-]+$ ]] || [ "${#key}" != "$length" ]; then
        said=odd
        key=-
      elif [ "$size" = -1 ]; then # no value, a tombstone: the share was deleted
        if [ -e "$file" ]; then said=removed; else said=absent; fi
        rm -f "$file"
      else
        id=null
        if [[ $headers =~ (^|,)ce_id=([0-9A-Za-z-]+) ]]; then id=\"${BASH_REMATCH[2]}\"; fi
        text="{\"ce_id\": $id}"
        if [ -e "$file" ] && [ "$(cat "$file")" = "$text" ]; then
          said=known
        else
          said=kept
          echo "$text" > "$file.new"
          mv "$file.new" "$file" # whole or not at all
        fi
      fi
      echo "$said $topic $key"
    done
done
