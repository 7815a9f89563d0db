{{- define "graviton.labels" -}}
app: {{ .Values.name }}
app.kubernetes.io/name: graviton
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "graviton.secret" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end }}

{{- define "graviton.postgres" -}}
{{- $name := printf "%s-secrets" .Values.name }}
{{ include "graviton.secret" (dict "variable" "PG_JDBC_URL" "secret" $name "key" "pg-jdbc-url") }}
{{ include "graviton.secret" (dict "variable" "PG_USERNAME" "secret" $name "key" "pg-username") }}
{{ include "graviton.secret" (dict "variable" "PG_PASSWORD" "secret" $name "key" "pg-password") }}
{{- end }}
