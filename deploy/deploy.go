// Package deploy holds what Berth is installed from: the Helm chart, the
// manifest rendered from it, and the lists of packages and links in the image;
// and the files that tell Kubernetes' own storage tests what Berth can do.
//
// It does not render, build or install anything. deploy/gen renders the
// manifest; the cluster for the demo and the tests builds the image and
// installs the chart from here.
package deploy

import (
	_ "embed"
	"strings"
)

// Binary is where the image has the berth binary.
const Binary = "/usr/local/bin/berth"

//go:embed image/packages.txt
var packages string

//go:embed image/links.txt
var links string

// Packages returns the Debian packages that Berth's image is made of, beside
// Debian's own minimum, in the order of image/packages.txt.
func Packages() []string { return words(packages) }

// Links returns the absolute paths of the image's links to Binary, in the order
// of image/links.txt.
func Links() []string { return words(links) }

// words returns the words of a text without its comments.
func words(text string) []string {
	var found []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		found = append(found, strings.Fields(line)...)
	}
	return found
}
