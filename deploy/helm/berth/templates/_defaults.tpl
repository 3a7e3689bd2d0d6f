{{/* Sets the values that nobody set, in .Values. Helm itself takes defaults from
values.yaml, and once it has done so a template cannot tell them from what a person
said. Where the modes of the chart differ in a default it is therefore not in
values.yaml but in defaults/. Every template begins with this; the second time it
does nothing. */}}
{{- define "berth.defaults" -}}
{{- if not .Values.defaultsAreSet -}}
{{- $mode := .Values.compatibility | default "native" -}}
{{- include "berth.setMissing" (list .Values (.Files.Get (printf "defaults/%s.yaml" $mode) | fromYaml)) -}}
{{- $_ := set .Values "defaultsAreSet" true -}}
{{- end -}}
{{- end -}}

{{/* A list of values and defaults. As Helm does it: maps are merged, all else that
is set stays, and null takes the default away. */}}
{{- define "berth.setMissing" -}}
{{- $values := index . 0 -}}
{{- range $key, $default := index . 1 -}}
{{- if not (hasKey $values $key) -}}
{{- $_ := set $values $key $default -}}
{{- else if kindIs "invalid" (index $values $key) -}}
{{- $_ := unset $values $key -}}
{{- else if and (kindIs "map" $default) (kindIs "map" (index $values $key)) -}}
{{- include "berth.setMissing" (list (index $values $key) $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}
