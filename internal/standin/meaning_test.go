package standin

import (
	"reflect"
	"testing"
)

// What the established provisioner reads is read here with the same meaning.
// Its own library is asked.
func TestMeaningIsTheSame(t *testing.T) {
	for name, data := range map[string]map[string]string{
		"booleans": {"useJobForCleaning": "yes", "setPVOwnerRef": "true", "useNodeNameOnly": "On", "useAlphaAPI": "y", "removeNodeNotReadyTaint": "TRUE"},
		"nothing":  {"useJobForCleaning": "", "setPVOwnerRef": "~", "labelsForPV": "\n", "storageClassMap": "null\n", "nodeLabelsForPV": "# none"},
		"labels": {"labelsForPV": "a : b\nnumber: 12\nfloat: 1.10\noctal: 017\nhex: 0x1F\nbig: 18446744073709551615\nlong: 1_000\nexp: 1e3\n" +
			"yes: yes\nno: 'no'\n1: one\nnull value:\nquoted: \"1.10\"\ndate: 2024-01-02\ntilde: ~\ntagged: !!str 007\nblock: |\n  x\ninf: .inf\nminus: -0\npi: 3.14159265358979\ny: Y\nbinary: 0b11\n"},
		"short": {"storageClassMap": "fast:\n  hostDir: /mnt\n  mountDir: 5\n", "nodeLabelsForPV": "[a, 1, yes, ~]"},
		"class": {"storageClassMap": "fast:\n  hostDir: /mnt/disks/\n  mountDir: /mnt/disks\n  blockCleanerCommand:\n    - \"/scripts/shred.sh\"\n    - 2\n" +
			"  volumeMode: Block\n  accessMode: ReadWriteOnce\n  fsType: ext4\n  namePattern: \"nvme*, sd?\"\n  selector:\n  - matchExpressions:\n    - key: rack\n      operator: In\n      values: [1, yes, a]\n" +
			"    matchFields:\n    - {key: metadata.name, operator: In, values: [n1]}\n  unknown: {a: b}\nslow:\n"},
		"aliases":     {"storageClassMap": "a: &a\n  hostDir: /a\n  mountDir: /a\n  volumeMode: Block\nb:\n  <<: *a\n  hostDir: /b\nc:\n  hostDir: /c\n  <<: *a\nd:\n  <<: [{hostDir: /1}, {hostDir: /2, mountDir: /3}]\ne: *a\n"},
		"twice":       {"storageClassMap": "a: {hostDir: /a}\na: {mountDir: /b}\n", "labelsForPV": "a: b\na: c\n"},
		"capitals":    {"storageClassMap": "a: {HOSTDIR: /a, mountdir: /b}\n"},
		"empty list":  {"storageClassMap": "a: {blockCleanerCommand: []}\n"},
		"null list":   {"storageClassMap": "a: {blockCleanerCommand: }\n"},
		"tolerations": {"jobTolerations": "- key: a\n  operator: Equal\n  value: true\n  effect: NoExecute\n  tolerationSeconds: 60\n- operator: Exists\n-\n", "provisionerNotReadyNodeTaintKey": "example.com/not-ready"},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := asThere(data)
			if err != nil {
				t.Fatalf("the established provisioner refuses it: %v", err)
			}
			got, problems, err := asHere(data)
			if err != nil || problems > 0 {
				t.Fatalf("refused here: %d problems, %v", problems, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("here  %+v\nthere %+v", got, want)
			}
		})
	}
}
