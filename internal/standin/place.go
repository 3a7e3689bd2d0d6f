package standin

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/berth-storage/berth/internal/config"
)

var classField = regexp.MustCompile(`^classes\[(\d+)\](?:\.(.*))?$`)

// sources are the keys that native fields come from.
var sources = map[string]string{
	"classes": keyClasses, "nodeLabels": keyNodeLabels, "labels": keyLabels, "ownerReference": keyOwnerRef,
	"nodeNameOnly": keyNodeName, "startupTaint": keyTaint, "jobTolerations": keyTolerations, "rescanInterval": keyResync,
}

// place says where the operator finds a field of the native document.
func (t *translation) place(field string) config.Place {
	if m := classField.FindStringSubmatch(field); m != nil {
		i, err := strconv.Atoi(m[1])
		if err == nil && i < len(t.classes) {
			return config.Place{File: keyClasses, Field: strings.TrimSuffix(t.classes[i]+"."+classSource(m[2]), ".")}
		}
	}
	end := strings.IndexAny(field+".", ".[")
	return config.Place{File: sources[field[:end]], Field: strings.TrimPrefix(field[end:], ".")}
}

// classSource is a class's field in the established provisioner's words.
func classSource(field string) string {
	if field == "name" {
		return ""
	}
	rest, isWipe := strings.CutPrefix(field, "wipe")
	if !isWipe {
		return field
	}
	if rest, ok := strings.CutPrefix(rest, ".command"); ok {
		return "blockCleanerCommand" + rest
	}
	if rest == ".passes" {
		return "blockCleanerCommand[1]"
	}
	return "blockCleanerCommand"
}
