{{/* A list of the root, the names of the StorageClasses so far, and of the default
one among them. Rules for pools that values.schema.json cannot say. */}}
{{- define "berth.validatePools" -}}
{{- $root := index . 0 -}}
{{- $names := index . 1 -}}
{{- $default := index . 2 -}}
{{- $values := $root.Values -}}
{{- if not (or $values.classes $values.pools) -}}
{{- fail "classes, pools: both are empty; at least one of the two is needed" -}}
{{- end -}}
{{- if and $values.controller.enabled (not (include "berth.controllerClasses" $root)) -}}
{{- fail "controller: enabled is for volumes of StorageClasses, and neither classes nor pools name any; say their StorageClasses in controller.storageClassNames, or leave enabled out: for pools the controller runs anyway" -}}
{{- end -}}
{{- if $values.pools -}}
{{- include "berth.validateKubeletDir" $root -}}
{{- end -}}
{{- range $i, $pool := $values.pools -}}
{{- include "berth.validatePoolFields" . -}}
{{- range slice $values.pools 0 $i -}}
{{- include "berth.validatePoolPair" (list $pool .) -}}
{{- end -}}
{{- range .classes -}}
{{- $name := . -}}
{{- range $values.classes -}}
{{- if eq .name $name -}}
{{- fail (printf "pools: %q: %q is a class for found volumes; a StorageClass is for those or for carved ones" $pool.name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .path -}}
{{- if hasPrefix "/dev/" .path -}}
{{- fail (printf "pools: %q: path %s is in the system's /dev; use a directory of its own, such as /mnt/pool" .name .path) -}}
{{- end -}}
{{- include "berth.validateDir" (list (printf "pools: %q: path" .name) .path) -}}
{{- include "berth.validatePoolMount" (list $root .) -}}
{{- range $class := $values.classes -}}
{{- range $field, $dir := include "berth.dirs" . | fromYaml -}}
{{- if include "berth.overlap" (list $pool.path $dir) -}}
{{- fail (printf "pools: path %s of %q overlaps %s %s of the class %q; what is in a class's directory is published as it is" $pool.path $pool.name $field $dir $class.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range .storageClasses -}}
{{- if hasKey $names .name -}}
{{- fail (printf "pools: %q: the StorageClass %q is there twice; one for one name" $pool.name .name) -}}
{{- end -}}
{{- $_ := set $names .name true -}}
{{- if and $pool.classes (not (has .name $pool.classes)) -}}
{{- fail (printf "pools: %q: the StorageClass %q is not among the pool's classes, which alone may have volumes of it" $pool.name .name) -}}
{{- end -}}
{{- if and .fsType (ne $pool.kind "lvm") -}}
{{- fail (printf "pools: %q: StorageClass %q: fsType is for kind lvm; with %s volumes are directories, so leave it out" $pool.name .name $pool.kind) -}}
{{- end -}}
{{- if .default -}}
{{- if $default -}}
{{- fail (printf "classes, pools: %q and %q are both the default StorageClass; one at most" $default .name) -}}
{{- end -}}
{{- $default = .name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A pool. Fields that its kind needs, and that it has no use for. */}}
{{- define "berth.validatePoolFields" -}}
{{- $where := ternary "volumeGroup" "path" (eq .kind "lvm") -}}
{{- if not (index . $where) -}}
{{- fail (printf "pools: %q: kind %s needs %s" .name .kind $where) -}}
{{- end -}}
{{- range $field := ternary (list "path") (list "volumeGroup" "stripes" "thin" "wipe") (eq .kind "lvm") -}}
{{- if hasKey $ $field -}}
{{- fail (printf "pools: %q: %s is not for kind %s; leave it out" $.name $field $.kind) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .kind "dir") (not .unenforced) -}}
{{- fail (printf "pools: %q: kind dir enforces no size, so that one volume can fill the others' space; say unenforced: true if that is meant" .name) -}}
{{- end -}}
{{- if and .unenforced (ne .kind "dir") -}}
{{- fail (printf "pools: %q: unenforced is for kind dir; %s enforces sizes" .name .kind) -}}
{{- end -}}
{{- if and .stripes .thin -}}
{{- fail (printf "pools: %q: stripes is for thick volumes; a thin one lies where its thin pool does" .name) -}}
{{- end -}}
{{- $wipe := .wipe | default dict -}}
{{- if and $wipe.passes (not (has ($wipe.method | default "Erase") (list "Zero" "Shred"))) -}}
{{- fail (printf "pools: %q: wipe.passes is for wipe.method Zero and Shred; else leave it out" .name) -}}
{{- end -}}
{{- end -}}

{{/* A list of the root and a pool. The directory above a mount point is mounted into
the agent's container, so nothing of the system's is to lie in it. */}}
{{- define "berth.validatePoolMount" -}}
{{- $pool := index . 1 -}}
{{- $mount := include "berth.poolMount" $pool -}}
{{- if ne $mount $pool.path -}}
{{- range $system := append (splitList " " (include "berth.systemDirs" .)) (include "berth.kubeletDir" (index . 0)) -}}
{{- if include "berth.overlap" (list $mount $system) -}}
{{- fail (printf "pools: %q: path %s is right below %s, which is given to the agent, and where the system's %s is; mount it elsewhere, such as at /mnt/pool" $pool.name $pool.path $mount $system) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A list of two pools. They may have no space in common. */}}
{{- define "berth.validatePoolPair" -}}
{{- $a := index . 0 -}}
{{- $b := index . 1 -}}
{{- if eq $a.name $b.name -}}
{{- fail (printf "pools: two pools are named %q; one for one name" $a.name) -}}
{{- end -}}
{{- if and $a.path $b.path (include "berth.overlap" (list $a.path $b.path)) -}}
{{- fail (printf "pools: path %s of %q overlaps path %s of %q" $a.path $a.name $b.path $b.name) -}}
{{- end -}}
{{- if and $a.volumeGroup (eq $a.volumeGroup ($b.volumeGroup | default "")) (not (and $a.thin $b.thin (ne $a.thin.pool $b.thin.pool))) -}}
{{- fail (printf "pools: %q and %q both have volumeGroup %s; a volume group is for one pool, or several thin pools of it for one each" $b.name $a.name $a.volumeGroup) -}}
{{- end -}}
{{- end -}}

{{/* Classes and pools in the kubelet's directory would be its own files. */}}
{{- define "berth.validateKubeletDir" -}}
{{- $dir := include "berth.kubeletDir" . -}}
{{- if ne (clean $dir) $dir -}}
{{- fail (printf "kubeletDir: %s is to be written as %s" $dir (clean $dir)) -}}
{{- end -}}
{{- range $class := .Values.classes -}}
{{- range $field, $other := include "berth.dirs" . | fromYaml -}}
{{- if include "berth.overlap" (list $dir $other) -}}
{{- fail (printf "classes: %q: %s %s overlaps the kubelet's directory %s" $class.name $field $other $dir) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range .Values.pools -}}
{{- if and .path (include "berth.overlap" (list $dir .path)) -}}
{{- fail (printf "pools: %q: path %s overlaps the kubelet's directory %s" .name .path $dir) -}}
{{- end -}}
{{- end -}}
{{- end -}}
