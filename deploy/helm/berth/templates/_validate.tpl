{{/* What values.schema.json cannot say: rules between fields and between classes.
Each message names the class, the field and what is allowed. */}}
{{- define "berth.validate" -}}
{{- $names := dict -}}
{{- $default := "" -}}
{{- range $i, $class := .Values.classes -}}
{{- if hasKey $names .name -}}
{{- fail (printf "classes: two classes are named %q; one class for one name" .name) -}}
{{- end -}}
{{- $_ := set $names .name true -}}
{{- if and .readOnly (eq (.volumeMode | default "Filesystem") "Block") -}}
{{- fail (printf "classes: %q: readOnly is for volumeMode Filesystem; a raw device cannot be kept from being written to" .name) -}}
{{- end -}}
{{- if and .readOnly .accessMode (ne (.accessMode | default "") "ReadOnlyMany") -}}
{{- fail (printf "classes: %q: accessMode %s with readOnly: leave it out, or say ReadOnlyMany" .name .accessMode) -}}
{{- end -}}
{{- if and .fsType (eq (.volumeMode | default "Filesystem") "Block") -}}
{{- fail (printf "classes: %q: fsType is for volumeMode Filesystem; a raw device has no filesystem" .name) -}}
{{- end -}}
{{- $storageClass := .storageClass | default dict -}}
{{- if $storageClass.default -}}
{{- if $default -}}
{{- fail (printf "classes: %q and %q are both the default StorageClass; one at most" $default .name) -}}
{{- end -}}
{{- $default = .name -}}
{{- end -}}
{{- include "berth.validateDir" (list .name "hostDir" .hostDir) -}}
{{- include "berth.validateDir" (list .name "mountDir" (.mountDir | default .hostDir)) -}}
{{- if and .mountDir (ne .mountDir .hostDir) (or (include "berth.inDev" .hostDir) (include "berth.inDev" .mountDir)) -}}
{{- fail (printf "classes: %q: a hostDir in /dev is seen by the agent where it is: leave mountDir out" .name) -}}
{{- end -}}
{{- range $other := slice $.Values.classes 0 $i -}}
{{- if include "berth.overlap" (list $class.hostDir $other.hostDir) -}}
{{- fail (printf "classes: hostDir %s of %q overlaps hostDir %s of %q; each class needs a directory of its own" $class.hostDir $class.name $other.hostDir $other.name) -}}
{{- end -}}
{{- $mine := $class.mountDir | default $class.hostDir -}}
{{- $theirs := $other.mountDir | default $other.hostDir -}}
{{- if include "berth.overlap" (list $mine $theirs) -}}
{{- fail (printf "classes: mountDir %s of %q overlaps mountDir %s of %q; each class needs a directory of its own" $mine $class.name $theirs $other.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A list of class, field, directory. Refuses directories whose entries are the
system's own: to publish and wipe them would be to wipe the node. */}}
{{- define "berth.validateDir" -}}
{{- $class := index . 0 -}}
{{- $field := index . 1 -}}
{{- $dir := index . 2 -}}
{{- if ne (clean $dir) $dir -}}
{{- fail (printf "classes: %q: %s %s is to be written as %s" $class $field $dir (clean $dir)) -}}
{{- end -}}
{{- range $taken := list "/boot" "/etc" "/proc" "/sys" "/usr" "/var/lib/berth" "/var/lib/kubelet" -}}
{{- if include "berth.overlap" (list $dir $taken) -}}
{{- fail (printf "classes: %q: %s %s overlaps %s, which is the node's own" $class $field $dir $taken) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A list of two clean paths: is one the other, or beneath it? */}}
{{- define "berth.overlap" -}}
{{- $a := printf "%s/" (index . 0) -}}
{{- $b := printf "%s/" (index . 1) -}}
{{- if or (hasPrefix $a $b) (hasPrefix $b $a) -}}yes{{- end -}}
{{- end -}}
