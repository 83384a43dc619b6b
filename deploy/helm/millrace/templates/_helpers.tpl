{{- define "millrace.name" -}}
{{ .root.Release.Name }}-{{ .name }}
{{- end }}

{{- define "millrace.selector" -}}
app.kubernetes.io/name: millrace
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{- define "millrace.labels" -}}
{{ include "millrace.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* An image by digest if there is one, or else by tag. */}}
{{- define "millrace.image" -}}
{{- $image := .root.Values.image -}}
{{- $name := printf "%s/%s" $image.repository .image -}}
{{- if $image.registry }}{{- $name = printf "%s/%s" $image.registry $name -}}{{- end -}}
{{- $digest := get $image.digests .image -}}
{{- if $digest }}{{ $name }}@{{ $digest }}{{- else }}{{ $name }}:{{ $image.tag | default .root.Chart.AppVersion }}{{- end -}}
{{- end }}

{{/* Where the other parts are, and who one is there. */}}
{{- define "millrace.connections" -}}
{{- $kafka := .root.Values.kafka -}}
- {name: MILLRACE_KAFKA, value: {{ $kafka.bootstrap | quote }}}
{{- if $kafka.tls }}
- {name: MILLRACE_KAFKA_TLS, value: "true"}
{{- if $kafka.ca.existingSecret }}
- {name: MILLRACE_KAFKA_CA, value: /etc/millrace/kafka/{{ $kafka.ca.key }}}
{{- end }}
{{- end }}
{{- if $kafka.mechanism }}
- {name: MILLRACE_KAFKA_MECHANISM, value: {{ $kafka.mechanism }}}
{{- if $kafka.user.name }}
- {name: MILLRACE_KAFKA_USER, value: {{ $kafka.user.name | quote }}}
{{- include "millrace.secret" (dict "name" "MILLRACE_KAFKA_PASSWORD" "secret" $kafka.user) | trim | nindent 0 }}
{{- else }}
- {name: MILLRACE_KAFKA_USER, value: {{ .user }}}
{{- include "millrace.secret" (dict "name" "MILLRACE_KAFKA_PASSWORD" "secret" (dict "existingSecret" (printf "millrace-%s" .user) "key" "password")) | trim | nindent 0 }}
{{- end }}
{{- end }}
{{- if .root.Values.registry.existingSecret }}
{{- include "millrace.secret" (dict "name" "MILLRACE_REGISTRY" "secret" .root.Values.registry) | trim | nindent 0 }}
{{- else }}
- {name: MILLRACE_REGISTRY, value: {{ .root.Values.registry.url | quote }}}
{{- end }}
{{- include "millrace.secret" (dict "name" "MILLRACE_POSTGRES" "secret" .root.Values.postgres) | trim | nindent 0 }}
{{- end }}

{{- define "millrace.s3Keys" -}}
{{- with .root.Values.storage.existingSecret }}
{{- include "millrace.secret" (dict "name" "MILLRACE_S3_ACCESS_KEY_ID" "secret" (dict "existingSecret" . "key" "access-key-id")) | trim | nindent 0 }}
{{- include "millrace.secret" (dict "name" "MILLRACE_S3_SECRET_ACCESS_KEY" "secret" (dict "existingSecret" . "key" "secret-access-key")) | trim | nindent 0 }}
{{- end }}
{{- end }}

{{- define "millrace.secret" }}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ .secret.existingSecret | quote }}, key: {{ .secret.key | quote }}}}
{{- end }}

{{/* The authorities of Kafka's certificates, as a volume and where it is mounted. */}}
{{- define "millrace.hasCa" -}}
{{- if and .Values.kafka.tls .Values.kafka.ca.existingSecret }}yes{{ end }}
{{- end }}

{{/* What no pod of ours has: root, capabilities, a root that it can write to, system calls beyond the usual. */}}
{{- define "millrace.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "millrace.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* One peer of a network policy, as an egress rule. */}}
{{- define "millrace.egress" }}
- ports:
    {{- range .ports }}
    - {protocol: {{ $.protocol | default "TCP" }}, port: {{ . }}}
    {{- end }}
  {{- with .to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Ports of pods: metrics and probes of workers, the API of the gateway. */}}
{{- define "millrace.port" -}}
{{- if eq .kind "gateway" }}http{{ else }}ops{{ end }}
{{- end }}
