{{/* What the container mounts, and out of which volumes. */}}
{{- define "compat.mounts" -}}
- name: provisioner-config
  mountPath: /etc/provisioner/config
  readOnly: true
{{- if .Values.mountDevVolume }}
- name: provisioner-dev
  mountPath: /dev
{{- end }}
{{- if .Values.stateDir }}
- name: berth-state
  mountPath: /var/lib/berth
{{- end }}
{{- range .Values.classes }}
- name: {{ toYaml .name }}
  mountPath: {{ .mountDir | default .hostDir | toYaml }}
  mountPropagation: HostToContainer
{{- end }}
{{- with .Values.additionalVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "compat.volumes" -}}
- name: provisioner-config
  configMap:
    name: {{ include "compat.fullname" . }}-config
{{- if .Values.mountDevVolume }}
- name: provisioner-dev
  hostPath:
    path: /dev
{{- end }}
{{- with .Values.stateDir }}
- name: berth-state
  hostPath:
    path: {{ toYaml . }}
    type: DirectoryOrCreate
{{- end }}
{{- range .Values.classes }}
- name: {{ toYaml .name }}
  hostPath:
    path: {{ toYaml .hostDir }}
{{- end }}
{{- with .Values.additionalVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
