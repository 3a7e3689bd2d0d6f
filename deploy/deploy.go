// Package deploy holds what Berth is installed from: the Helm chart, the
// manifest rendered from it, and the list of packages in the image.
//
// It does not render, build or install anything. deploy/gen renders the
// manifest; the cluster for the demo and the tests builds the image and
// installs the chart from here.
package deploy

import (
	"embed"
	"fmt"
	"strings"
)

// Files are helm/berth (the chart), berth.yaml (the manifest for kubectl apply,
// with the chart's default values) and image/packages.txt.
//
//go:embed all:helm/berth berth.yaml image/packages.txt
var Files embed.FS

// Packages returns the Debian packages that Berth's image is made of, beside
// Debian's own minimum, in the order of image/packages.txt.
func Packages() ([]string, error) {
	data, err := Files.ReadFile("image/packages.txt")
	if err != nil {
		return nil, fmt.Errorf("reading the image's packages: %w", err)
	}
	var packages []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		packages = append(packages, strings.Fields(line)...)
	}
	return packages, nil
}
