{{/* Names and labels as the established static provisioner's chart makes them: an
upgrade finds its objects again by the one, and the pods by the other. */}}

{{- define "compat.name" -}}
{{- .Values.nameOverride | default "local-static-provisioner" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "compat.fullname" -}}
{{- $name := .Values.nameOverride | default "local-static-provisioner" -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- end -}}
{{- $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "compat.serviceAccount" -}}
{{- $default := "default" -}}
{{- if .Values.serviceAccount.create -}}
{{- $default = include "compat.fullname" . -}}
{{- end -}}
{{- .Values.serviceAccount.name | default $default -}}
{{- end -}}

{{/* What finds the pods. A DaemonSet's selector cannot be changed. */}}
{{- define "compat.selector" -}}
app.kubernetes.io/name: {{ include "compat.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "compat.labels" -}}
{{ include "compat.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Stops helm where this chart cannot do what the other does. */}}
{{- define "compat.validate" -}}
{{- if .Values.enableWindows -}}
{{- fail "enableWindows: Berth does not run on Windows; set it to false, and keep the established provisioner on those nodes" -}}
{{- end -}}
{{- if kindIs "string" .Values.image -}}
{{- fail (printf "image: %s is a value of the established chart; name compat/static-provisioner.yaml after your values, or set image.repository to where Berth's image is" .Values.image) -}}
{{- end -}}
{{- end -}}
