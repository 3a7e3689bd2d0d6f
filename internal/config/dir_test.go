package config

import "testing"

// Directories that other programs fill with devices are no system directories,
// and a directory may be divided by name.
func TestDirsAllowed(t *testing.T) {
	const head = "apiVersion: berth.storage/v1alpha1\nkind: AgentConfig\nclasses:\n"
	for _, classes := range []string{
		"- {name: a, hostDir: /dev/disk/kubernetes}\n- {name: b, hostDir: /dev/mapper}\n",
		"- {name: a, hostDir: /dev/disk/by-id}\n- {name: b, hostDir: /dev/mapper/vg0}\n",
		"- {name: a, hostDir: /mnt/a, namePattern: sd*}\n- {name: b, hostDir: /mnt/a, namePattern: \"*\"}\n",
		"- {name: a, hostDir: /mnt/a, mountDir: /srv, namePattern: sd*}\n- {name: b, hostDir: /mnt/a, mountDir: /srv, namePattern: nvme*}\n",
	} {
		if _, err := Decode("f", []byte(head+classes), nil); err != nil {
			t.Errorf("%s%v", classes, err)
		}
	}
}
