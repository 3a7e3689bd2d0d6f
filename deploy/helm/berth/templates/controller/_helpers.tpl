{{- define "berth.controller" -}}
{{- printf "%s-controller" (include "berth.fullname" .) -}}
{{- end -}}

{{/* Not nameOverride: with compatibility it names the agent's pods, which are then
found without a component. */}}
{{- define "berth.controllerSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "berth.controllerLabels" -}}
{{- include "berth.addLabels" (list . (include "berth.controllerSelector" .)) -}}
{{- end -}}

{{/* Is there a controller: for claims, or to clean up after nodes? */}}
{{- define "berth.controls" -}}
{{- if or .Values.controller.enabled .Values.pools -}}yes{{- end -}}
{{- end -}}

{{/* The StorageClasses whose volumes the controller cleans up. */}}
{{- define "berth.controllerClasses" -}}
{{- $names := .Values.controller.storageClassNames -}}
{{- if not $names -}}
{{- range .Values.classes -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range .Values.pools -}}
{{- $names = concat $names (.classes | default list) -}}
{{- range .storageClasses -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- join "," ($names | uniq) -}}
{{- end -}}
