{{/* What the volumes' policy asks of volumes that were carved out of a pool, in
place of what it asks of found ones. */}}
{{- define "berth.carvedValidations" -}}
- expression: >-
    !variables.carved ||
    variables.forms.all(o, o.metadata.?annotations[?'pv.kubernetes.io/provisioned-by'].orValue('') == 'berth.storage') &&
    variables.carvedPin in variables.terms && variables.terms.size() == 1
  reason: Forbidden
  messageExpression: >-
    'the agent of node ' + variables.node + ' may write only volumes carved on that node:
    pv.kubernetes.io/provisioned-by is to be berth.storage, and the node affinity
    berth.storage/node In [' + variables.label + '] alone'
# Whether the claim is placed on this node no expression can see. The name has the
# claim's UID, so that a claim is given one volume, whoever makes it.
- expression: >-
    !variables.carved || request.operation != 'CREATE' ||
    object.spec.?claimRef.?name.orValue('') != '' &&
    (object.spec.claimRef.?uid.orValue('') == '' || object.metadata.name == 'pvc-' + object.spec.claimRef.uid) &&
    object.spec.csi.volumeHandle.endsWith('/' + object.metadata.name)
  reason: Forbidden
  message: >-
    a carved volume is made for a claim, is named pvc- and that claim's UID, and its volumeHandle ends in its name
# The kubelet reads the Secrets that a volume refers to, and hands them to the agent.
- expression: >-
    !variables.carved || request.operation != 'CREATE' ||
    dyn(object.spec.csi).all(field, field in ['driver', 'volumeHandle', 'fsType', 'readOnly', 'volumeAttributes'])
  reason: Forbidden
  message: a carved volume is to refer to no Secret
- expression: >-
    !variables.carved || request.operation != 'UPDATE' ||
    dyn(object.spec).all(field, field == 'capacity' || field in dyn(oldObject.spec) && dyn(object.spec)[field] == dyn(oldObject.spec)[field]) &&
    dyn(oldObject.spec).all(field, field in dyn(object.spec)) &&
    quantity(object.spec.capacity.storage).compareTo(quantity(oldObject.spec.capacity.storage)) >= 0
  reason: Forbidden
  message: an agent may change metadata of a carved volume, and its capacity to more
{{- end -}}
