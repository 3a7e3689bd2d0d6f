{{- define "berth.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name, with the chart's where it is not in it already. 50
characters leave room for -agent and what Kubernetes appends to a pod's name. */}}
{{- define "berth.fullname" -}}
{{- $name := include "berth.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "berth.agent" -}}
{{- printf "%s-agent" (include "berth.fullname" .) -}}
{{- end -}}

{{/* What finds the agent's pods. A DaemonSet's selector cannot be changed, so
nothing that an upgrade changes may be in here. */}}
{{- define "berth.selector" -}}
app.kubernetes.io/name: {{ include "berth.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end -}}

{{- define "berth.labels" -}}
{{- include "berth.addLabels" (list . (include "berth.selector" .)) -}}
{{- end -}}

{{/* A list of the root and a component's selector: the labels of its objects. */}}
{{- define "berth.addLabels" -}}
{{- $own := index . 1 | fromYaml -}}
{{- with index . 0 -}}
{{- $_ := set $own "app.kubernetes.io/version" (.Chart.AppVersion | toString) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own .Values.commonLabels) -}}
{{- end -}}
{{- end -}}

{{- define "berth.podLabels" -}}
{{- $own := include "berth.selector" . | fromYaml -}}
{{- toYaml (merge $own .Values.podLabels .Values.commonLabels) -}}
{{- end -}}

{{/* A class: where the agent sees its directory. */}}
{{- define "berth.mountDir" -}}
{{- .mountDir | default .hostDir -}}
{{- end -}}

{{/* The directories of the classes. Classes may divide one, which is mounted once. */}}
{{- define "berth.mounts" -}}
{{- $mounts := list -}}
{{- range .Values.classes -}}
{{- $mounts = append $mounts (dict "hostDir" .hostDir "mountDir" (include "berth.mountDir" .)) -}}
{{- end -}}
{{- toYaml (uniq $mounts) -}}
{{- end -}}

{{/* A pool: the directory of the node that the agent is given for it. Of a mount point
that is the directory above: a mount of the mount point itself would hold on to what
was mounted there when the pod began, whatever is mounted on the node since. */}}
{{- define "berth.poolMount" -}}
{{- if .path -}}
{{- eq .kind "dir" | ternary .path (dir .path) -}}
{{- end -}}
{{- end -}}

{{- define "berth.poolMounts" -}}
{{- $mounts := list -}}
{{- range .Values.pools -}}
{{- $mounts = append $mounts (include "berth.poolMount" .) -}}
{{- end -}}
{{- toYaml (compact $mounts | uniq) -}}
{{- end -}}

{{/* Is there a pool of kind lvm? */}}
{{- define "berth.lvm" -}}
{{- range .Values.pools -}}
{{- if eq .kind "lvm" -}}yes{{- end -}}
{{- end -}}
{{- end -}}

{{/* The kubelet's directory. The default is here as well, for an upgrade with
--reuse-values from a chart that did not have the value. */}}
{{- define "berth.kubeletDir" -}}
{{- .Values.kubeletDir | default "/var/lib/kubelet" -}}
{{- end -}}

{{/* Does a class wipe in Jobs? */}}
{{- define "berth.jobs" -}}
{{- range .Values.classes -}}
{{- if dig "wipe" "job" false . -}}yes{{- end -}}
{{- end -}}
{{- end -}}

{{/* Does a class have its nodes tainted while a disk is gone? */}}
{{- define "berth.taints" -}}
{{- range .Values.classes -}}
{{- if eq (.whenGone | default "") "TaintNode" -}}yes{{- end -}}
{{- end -}}
{{- end -}}

{{- define "berth.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "berth.agent" .) -}}
{{- else -}}
{{- required "serviceAccount: create is false, so name must say which account to use" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "berth.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion | toString) -}}
{{- end -}}
{{- end -}}
{{- end -}}
