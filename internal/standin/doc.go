// Package standin reads the configuration of the established static
// provisioner (sig-storage-local-static-provisioner 2.9) and translates it into
// Berth's own, so that an agent can take that one's place without an edit.
//
// That configuration is a ConfigMap, mounted as a directory with a file for
// each key. What the established provisioner accepts is accepted here with the
// same meaning, and what differs all the same is said in a Note. What it would
// fail on later, or what package config refuses, is refused at once, with key,
// line and field.
//
// It also chooses where the agent's journal is kept when the manifests of the
// established provisioner, which has none, gave it no place.
//
// It knows nothing of Kubernetes and changes nothing on the machine.
package standin
