package deploy

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPackages(t *testing.T) {
	packages := Packages()
	for _, want := range []string{"e2fsprogs", "xfsprogs", "btrfs-progs", "util-linux", "lvm2", "thin-provisioning-tools"} {
		if !slices.Contains(packages, want) {
			t.Errorf("%s is not in image/packages.txt: %q", want, packages)
		}
	}
	// Debian's rule for names. What is no name would be an option of apt-get.
	name := regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	for i, p := range packages {
		if !name.MatchString(p) {
			t.Errorf("%q is no name of a Debian package", p)
		}
		if slices.Contains(packages[:i], p) {
			t.Errorf("%s is listed twice", p)
		}
	}
}

// TestLinks holds the links to the paths that manifests and blockCleanerCommands
// written for the established static provisioner name.
func TestLinks(t *testing.T) {
	want := []string{"/local-provisioner", "/main", "/scripts/quick_reset.sh", "/scripts/shred.sh",
		"/scripts/dd_zero.sh", "/scripts/blkdiscard.sh", "/scripts/fsclean.sh"}
	got := Links()
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("image/links.txt has %q, want %q", got, want)
	}
}

// TestDockerfile reads the Dockerfile, as building it needs Docker. It must
// install from the list, name no package itself, and start berth with no arguments.
func TestDockerfile(t *testing.T) {
	data, err := os.ReadFile("image/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, want := range []string{
		"COPY deploy/image/packages.txt /tmp/packages.txt",
		"/tmp/packages.txt | xargs apt-get install",
		"CGO_ENABLED=0 go build",
		"COPY deploy/image/links.txt /tmp/links.txt",
		"/tmp/links.txt | xargs -n 1 ln -s " + Binary + " ",
		"COPY --from=build /berth " + Binary + "\n",
		"ENTRYPOINT [\"" + Binary + "\"]\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
	// With a default command, an image swapped into the established manifests
	// would not be started without arguments.
	if regexp.MustCompile(`(?m)^CMD\b`).MatchString(text) {
		t.Error("the Dockerfile has a CMD")
	}
	packages := Packages()
	for _, p := range packages {
		if regexp.MustCompile(`(?m)^[^#\n]*\b` + regexp.QuoteMeta(p) + `\b`).MatchString(text) {
			t.Errorf("the Dockerfile names %s, which is for packages.txt", p)
		}
	}
	// The Go image is to be of the version that go.mod asks for.
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	if version == nil || !strings.Contains(text, "FROM golang:"+string(version[1])+"-") {
		t.Errorf("the Dockerfile does not build with Go %s", version)
	}
}
