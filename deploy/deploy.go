// Package deploy holds what Berth is installed from: the Helm chart, the
// manifest rendered from it, and the list of packages in the image.
//
// It does not render, build or install anything. deploy/gen renders the
// manifest; the cluster for the demo and the tests builds the image and
// installs the chart from here.
package deploy

import (
	_ "embed"
	"strings"
)

//go:embed image/packages.txt
var packages string

// Packages returns the Debian packages that Berth's image is made of, beside
// Debian's own minimum, in the order of image/packages.txt.
func Packages() []string {
	var names []string
	for line := range strings.Lines(packages) {
		line, _, _ = strings.Cut(line, "#")
		names = append(names, strings.Fields(line)...)
	}
	return names
}
