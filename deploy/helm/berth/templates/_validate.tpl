{{/* What values.schema.json cannot say: rules between fields and between classes.
The agent has the same rules for its file (internal/config). They are here so that
a mistake stops helm, and does not wait for the agents' logs. */}}
{{- define "berth.validate" -}}
{{- $names := dict -}}
{{- $default := "" -}}
{{- range $i, $class := .Values.classes -}}
{{- if hasKey $names .name -}}
{{- fail (printf "classes: two classes are named %q; one class for one name" .name) -}}
{{- end -}}
{{- $_ := set $names .name true -}}
{{- include "berth.validateModes" . -}}
{{- include "berth.validateWipe" . -}}
{{- if dig "storageClass" "default" false . -}}
{{- if $default -}}
{{- fail (printf "classes: %q and %q are both the default StorageClass; one at most" $default .name) -}}
{{- end -}}
{{- $default = .name -}}
{{- end -}}
{{- range $field, $dir := include "berth.dirs" . | fromYaml -}}
{{- include "berth.validateDir" (list (printf "classes: %q: %s" $class.name $field) $dir) -}}
{{- range $other := slice $.Values.classes 0 $i -}}
{{- if not (include "berth.shareDir" (list $class $other)) -}}
{{- range $otherField, $otherDir := include "berth.dirs" $other | fromYaml -}}
{{- if include "berth.overlap" (list $dir $otherDir) -}}
{{- fail (printf "classes: %s %s of %q overlaps %s %s of %q; each class needs a directory of its own, or the same hostDir and mountDir with a namePattern in each" $field $dir $class.name $otherField $otherDir $other.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "berth.validatePools" (list . $names $default) -}}
{{- range $name := concat .Values.nodeLabels (keys .Values.labels | sortAlpha) -}}
{{- if hasPrefix "berth.storage/" $name -}}
{{- fail (printf "labels, nodeLabels: %q: names that begin with berth.storage/ are Berth's own" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A class. Fields of it that exclude each other. */}}
{{- define "berth.validateModes" -}}
{{- if eq (.volumeMode | default "Filesystem") "Block" -}}
{{- range $field := list "readOnly" "shared" "fsType" -}}
{{- if index $ $field -}}
{{- fail (printf "classes: %q: %s is for volumeMode Filesystem; with Block, leave it out" $.name $field) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .readOnly .accessMode (ne (.accessMode | default "") "ReadOnlyMany") -}}
{{- fail (printf "classes: %q: accessMode %s with readOnly: leave it out, or say ReadOnlyMany" .name .accessMode) -}}
{{- end -}}
{{- end -}}

{{/* A class. Fields of its wipe that need or exclude each other. */}}
{{- define "berth.validateWipe" -}}
{{- $wipe := .wipe | default dict -}}
{{- $method := $wipe.method | default "Erase" -}}
{{- if and (eq $method "Command") (not $wipe.command) -}}
{{- fail (printf "classes: %q: wipe.method Command needs wipe.command" .name) -}}
{{- end -}}
{{- if and $wipe.command (ne $method "Command") -}}
{{- fail (printf "classes: %q: wipe.command is for wipe.method Command; with %s, leave it out" .name $method) -}}
{{- end -}}
{{- if and $wipe.passes (not (has $method (list "Zero" "Shred"))) -}}
{{- fail (printf "classes: %q: wipe.passes is for wipe.method Zero and Shred; with %s, leave it out" .name $method) -}}
{{- end -}}
{{- if and $wipe.timeout (ne $method "Command") (not $wipe.job) -}}
{{- fail (printf "classes: %q: wipe.timeout is for wipe.method Command and for wipe.job; else leave it out" .name) -}}
{{- end -}}
{{- if and $wipe.verify (or $wipe.job (has $method (list "Signatures" "Command"))) -}}
{{- fail (printf "classes: %q: wipe.verify is for wipe.method Erase, Zero, Shred and NVMeFormat without wipe.job; else leave it out" .name) -}}
{{- end -}}
{{- if and $wipe.bytesPerSecond (or $wipe.job (eq $method "Command")) -}}
{{- fail (printf "classes: %q: wipe.bytesPerSecond is for what the agent itself wipes; with wipe.method Command or wipe.job, leave it out" .name) -}}
{{- end -}}
{{- end -}}

{{/* A class's directories by their fields. */}}
{{- define "berth.dirs" -}}
{{- $dirs := dict "hostDir" .hostDir -}}
{{- if and .mountDir (ne .mountDir .hostDir) -}}
{{- $_ := set $dirs "mountDir" .mountDir -}}
{{- end -}}
{{- toYaml $dirs -}}
{{- end -}}

{{/* A list of two classes: do they divide one directory by name? */}}
{{- define "berth.shareDir" -}}
{{- $a := index . 0 -}}
{{- $b := index . 1 -}}
{{- if and $a.namePattern $b.namePattern (eq $a.hostDir $b.hostDir) (eq (include "berth.mountDir" $a) (include "berth.mountDir" $b)) -}}yes{{- end -}}
{{- end -}}

{{/* The system's directories. */}}
{{- define "berth.systemDirs" -}}
{{- list "/bin" "/boot" "/dev" "/etc" "/lib" "/lib32" "/lib64" "/libx32" "/proc" "/run" "/sbin" "/sys" "/usr" "/var/lib/berth" "/var/lib/containerd" "/var/lib/containers" "/var/lib/docker" "/var/lib/etcd" "/var/lib/kubelet" "/var/log" "/var/run" | join " " -}}
{{- end -}}

{{/* A list of whose field it is, for people, and the directory. Refuses directories
whose entries are the system's own: to publish and wipe them would be to wipe the
node. Links to devices may lie in /dev/disk/ and /dev/mapper. */}}
{{- define "berth.validateDir" -}}
{{- $field := index . 0 -}}
{{- $dir := index . 1 -}}
{{- if ne (clean $dir) $dir -}}
{{- fail (printf "%s %s is to be written as %s" $field $dir (clean $dir)) -}}
{{- end -}}
{{- range $system := splitList " " (include "berth.systemDirs" .) -}}
{{- if and (include "berth.overlap" (list $dir $system)) (not (regexMatch "^/dev/(mapper(/|$)|disk/)" $dir)) -}}
{{- fail (printf "%s %s overlaps the system's %s; use a directory of its own, such as /mnt/disks" $field $dir $system) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A list of two clean paths: is one the other, or beneath it? */}}
{{- define "berth.overlap" -}}
{{- $a := printf "%s/" (index . 0 | trimSuffix "/") -}}
{{- $b := printf "%s/" (index . 1 | trimSuffix "/") -}}
{{- if or (hasPrefix $a $b) (hasPrefix $b $a) -}}yes{{- end -}}
{{- end -}}
