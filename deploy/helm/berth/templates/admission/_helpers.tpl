{{/* Policies that the API server enforces on what Berth's own accounts write. They
know an agent's node by its token: the kubelet's tokens for pods name the node that
the pod is on, from Kubernetes 1.30 on, which is also where policies are served. */}}

{{- define "berth.served" -}}
{{- if semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version -}}yes{{- end -}}
{{- end -}}

{{/* Are the agents confined? With compatibility only where the chart makes the
account's rights, too. */}}
{{- define "berth.confine" -}}
{{- if and .Values.admissionPolicy.enabled (include "berth.served" .) (or (not .Values.compatibility) .Values.rbac.create) -}}yes{{- end -}}
{{- end -}}

{{- define "berth.confined" -}}
{{- if .Values.compatibility -}}
{{- include "compat.fullname" . -}}
{{- else -}}
{{- include "berth.agent" . -}}
{{- end -}}
{{- end -}}

{{/* A list of the root, the part of the policies' names after the account's, and the
resources. Begins a policy for the agents; its validations follow. */}}
{{- define "berth.agentPolicy" -}}
{{- $root := index . 0 -}}
{{- with $root -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "berth.confined" . }}-{{ index $ 1 }}
  labels:
    {{- include "berth.confinedLabels" . | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [{{ index $ 2 | quote }}]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: {{ index $ 3 }}
  matchConditions:
    - name: agent
      expression: request.userInfo.username == {{ include "berth.confinedUser" . | quote }}
  variables:
    # The node of the pod that the token was made for; empty if it names none.
    - name: node
      expression: request.userInfo.?extra[?'authentication.kubernetes.io/node-name'][?0].orValue('')
{{- end -}}
{{- end -}}

{{/* The validations that each policy for the agents begins with. */}}
{{- define "berth.agentValidations" -}}
validations:
  - expression: variables.node != ''
    reason: Forbidden
    message: >-
      this token names no node, so it may write nothing; what the kubelet gives an
      agent's pod does, from Kubernetes 1.30 on
{{- end -}}

{{- define "berth.confinedLabels" -}}
{{- if .Values.compatibility -}}
{{- include "compat.labels" . -}}
{{- else -}}
{{- include "berth.labels" . -}}
{{- end -}}
{{- end -}}

{{- define "berth.confinedUser" -}}
{{- $account := "" -}}
{{- if .Values.compatibility -}}
{{- $account = include "compat.serviceAccount" . -}}
{{- else -}}
{{- $account = include "berth.serviceAccount" . -}}
{{- end -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace $account -}}
{{- end -}}

{{/* A list of the root, the policy's name, and its labels. */}}
{{- define "berth.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ index . 0 }}
  labels:
    {{- index . 1 | nindent 4 }}
spec:
  policyName: {{ index . 0 }}
  validationActions: [Deny]
{{- end -}}

{{/* The CEL expression for the value that a node has in its label
kubernetes.io/hostname. It is the node's name, as the kubelet sets it, but where
admissionPolicy.hostnames says another. */}}
{{- define "berth.hostnameOf" -}}
{{- with .Values.admissionPolicy.hostnames -}}
{{- toJson . }}[?variables.node].orValue(variables.node)
{{- else -}}
variables.node
{{- end -}}
{{- end -}}

{{/* The same for the label berth.storage/node: the name, or a hash of one that is
longer than a label may be. CEL has no hash function, so the chart makes it. */}}
{{- define "berth.labelOf" -}}
{{- $hashes := dict -}}
{{- range $node, $_ := .Values.admissionPolicy.hostnames -}}
{{- if gt (len $node) 63 -}}
{{- $_ := set $hashes $node (printf "sha256-%s" (sha256sum $node | trunc 48)) -}}
{{- end -}}
{{- end -}}
{{- with $hashes -}}
{{- toJson . }}[?variables.node].orValue(variables.node)
{{- else -}}
variables.node
{{- end -}}
{{- end -}}

{{/* The node selector terms of the classes, beside the one that names the node, as
the volumes' policy writes terms: a list of expressions and one of fields, each a
list of key, operator and values. */}}
{{- define "berth.selectorTerms" -}}
{{- range .Values.classes -}}
{{- range .selector -}}
{{- $term := list -}}
{{- range $kind := list .matchExpressions .matchFields -}}
{{- $requirements := list -}}
{{- range $kind -}}
{{- $texts := list .key .operator -}}
{{- range .values -}}
{{- $texts = append $texts (toString .) -}}
{{- end -}}
{{- $requirements = append $requirements $texts -}}
{{- end -}}
{{- $term = append $term $requirements -}}
{{- end -}}
, {{ toJson $term }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A list of the name of a pair of maps, before and after, and of a key. The CEL
expression for: all but that key is the same. */}}
{{- define "berth.sameBut" -}}
{{- $maps := printf "variables.%s" (index . 0) -}}
{{- $key := index . 1 | squote -}}
{{ $maps }}[1].all(k, k == {{ $key }} || k in {{ $maps }}[0] && {{ $maps }}[1][k] == {{ $maps }}[0][k]) &&
{{ $maps }}[0].all(k, k == {{ $key }} || k in {{ $maps }}[1])
{{- end -}}

{{/* Variables for it: labels and annotations, each before and after. */}}
{{- define "berth.metadataPairs" -}}
- name: labels
  expression: "[oldObject, object].map(o, o == null ? {} : o.metadata.?labels.orValue({}))"
- name: annotations
  expression: "[oldObject, object].map(o, o == null ? {} : o.metadata.?annotations.orValue({}))"
{{- end -}}
