{{/*
What the services are, as the code has them; a test compares. `user` is who a service is to Kafka, `group` its consumer
group, `scope` its budget, `reaches` whom it may ask.
*/}}
{{- define "millrace.facts" -}}
media-agent:
  {kind: agent, image: media-agent, user: media-agent, group: millrace-media-agent, media: true,
   reaches: [kafka, registry, postgres, s3, internet]}
transcribe-agent:
  {kind: agent, image: transcribe-agent, user: transcribe-agent, group: millrace-transcribe-agent, scope: transcribe,
   media: true, reaches: [kafka, registry, postgres, s3, apis]}
transcribe-agent-gpu:
  {kind: agent, image: transcribe-agent-gpu, user: transcribe-agent, group: millrace-transcribe-local,
   scope: transcribe, media: true, reaches: [kafka, registry, postgres, s3, apis]}
summarize-agent:
  {kind: agent, image: summarize-agent, user: summarize-agent, group: millrace-summarize-agent, scope: summarize,
   media: true, reaches: [kafka, registry, postgres, s3, apis]}
embed-agent:
  {kind: agent, image: embed-agent, user: embed-agent, group: millrace-embed-agent, scope: embed,
   media: true, reaches: [kafka, registry, postgres, s3, apis]}
cost-ledger:
  {kind: ledger, image: cost-ledger, user: cost-ledger, reaches: [kafka, registry, postgres]}
cost-ledger-admission:
  {kind: ledger, image: cost-ledger, user: cost-ledger, reaches: [kafka, registry, postgres]}
api-gateway:
  {kind: gateway, image: api-gateway, user: api-gateway, media: true, reaches: [kafka, registry, postgres, s3, apis]}
{{- end }}

{{/* Which work a service does, where another one of its kind does the rest. */}}
{{- define "millrace.role" -}}
{{- $services := .root.Values.services -}}
{{- if eq .name "transcribe-agent-gpu" }}
MILLRACE_WORKS_ON: local
MILLRACE_WHISPER_DEVICE: cuda
{{- else if and (eq .name "transcribe-agent") (index $services "transcribe-agent-gpu").enabled }}
MILLRACE_WORKS_ON: api
{{- else if eq .name "cost-ledger-admission" }}
MILLRACE_LEDGER_ROLE: admission
{{- else if and (eq .name "cost-ledger") (index $services "cost-ledger-admission").enabled }}
MILLRACE_LEDGER_ROLE: spend
{{- end }}
{{- end }}

{{/* A service's settings: what the chart decides, what all have, its own. A later one holds. */}}
{{- define "millrace.settings" -}}
{{- $root := .root -}}
{{- $decided := dict "MILLRACE_DRAIN_S" (toString .service.drainSeconds) -}}
{{- if eq .fact.kind "gateway" -}}
{{- $decided = dict "MILLRACE_HTTP_HOST" "0.0.0.0" "MILLRACE_HTTP_PORT" "8080" -}}
{{- else -}}
{{- $_ := set $decided "MILLRACE_OPS_HOST" "0.0.0.0" -}}
{{- $_ := set $decided "MILLRACE_OPS_PORT" "9100" -}}
{{- end -}}
{{- if .fact.media -}}
{{- $_ := set $decided "MILLRACE_BLOBS" "/var/lib/millrace/media" -}}
{{- $_ := set $decided "MILLRACE_STORAGE_MODE" $root.Values.storage.mode -}}
{{- $_ := set $decided "MILLRACE_S3_WAIT_S" "0" -}}
{{- range $name, $value := dict "BUCKET" $root.Values.storage.bucket "REGION" $root.Values.storage.region "ENDPOINT" $root.Values.storage.endpoint -}}
{{- if $value }}{{- $_ := set $decided (printf "MILLRACE_S3_%s" $name) $value -}}{{- end -}}
{{- end -}}
{{- if $root.Values.storage.pathStyle }}{{- $_ := set $decided "MILLRACE_S3_PATH_STYLE" "true" -}}{{- end -}}
{{- end -}}
{{- if and $root.Values.budgets (eq .fact.kind "ledger") -}}
{{- $_ := set $decided "MILLRACE_BUDGETS" "/etc/millrace/budgets.toml" -}}
{{- end -}}
{{- if and $root.Values.prices (ne .fact.kind "ledger") -}}
{{- $_ := set $decided "MILLRACE_PRICES" "/etc/millrace/prices.toml" -}}
{{- end -}}
{{- $role := include "millrace.role" . | fromYaml -}}
{{- range $name, $value := mergeOverwrite $decided (deepCopy $root.Values.settings) (deepCopy (default dict .service.settings)) $role }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
