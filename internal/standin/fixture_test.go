package standin

import (
	"strings"

	"go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/yaml"
)

// established is what the established provisioner decodes its keys into, with
// the library that it does it with.
type established struct {
	StorageClassMap map[string]struct {
		HostDir             string        `json:"hostDir"`
		MountDir            string        `json:"mountDir"`
		BlockCleanerCommand []string      `json:"blockCleanerCommand"`
		VolumeMode          string        `json:"volumeMode"`
		AccessMode          string        `json:"accessMode"`
		FsType              string        `json:"fsType"`
		NamePattern         string        `json:"namePattern"`
		Selector            []nodeSelTerm `json:"selector"`
	} `json:"storageClassMap"`
	NodeLabelsForPV                 []string          `json:"nodeLabelsForPV"`
	LabelsForPV                     map[string]string `json:"labelsForPV"`
	UseAlphaAPI                     bool              `json:"useAlphaAPI"`
	UseJobForCleaning               bool              `json:"useJobForCleaning"`
	JobTolerations                  []toleration      `json:"jobTolerations"`
	UseNodeNameOnly                 bool              `json:"useNodeNameOnly"`
	SetPVOwnerRef                   bool              `json:"setPVOwnerRef"`
	RemoveNodeNotReadyTaint         bool              `json:"removeNodeNotReadyTaint"`
	ProvisionerNotReadyNodeTaintKey string            `json:"provisionerNotReadyNodeTaintKey"`
}

type nodeSelTerm struct {
	MatchExpressions []requirement `json:"matchExpressions"`
	MatchFields      []requirement `json:"matchFields"`
}

type requirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values"`
}

type toleration struct {
	Key, Operator, Value, Effect string
	TolerationSeconds            *int64
}

// asThere decodes the keys as the established provisioner does: as values of
// one document, each of them indented.
func asThere(data map[string]string) (e established, err error) {
	var doc strings.Builder
	for key, value := range data {
		doc.WriteString(key + ": \n   " + strings.ReplaceAll(value, "\n", "\n   ") + "\n")
	}
	return e, kyaml.Unmarshal([]byte(doc.String()), &e)
}

// asHere decodes the normal forms of the keys.
func asHere(data map[string]string) (e established, problems int, err error) {
	t := &translation{keys: map[string]*yaml.Node{}, broken: map[string]bool{}}
	doc := &mapping{}
	for name, value := range data {
		t.read(name, value)
		doc.put(name, t.keys[name])
	}
	text, err := yaml.Marshal(doc.node())
	if err != nil {
		return e, len(t.problems), err
	}
	return e, len(t.problems), kyaml.Unmarshal(text, &e)
}
