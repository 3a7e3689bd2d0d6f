package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/berth-storage/berth/deploy"
)

// architecture of every image: the machine's.
const architecture = runtime.GOARCH

// Pause is the image that holds a pod's namespaces: one static program.
func Pause(name, program string) (Image, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return Image{}, fmt.Errorf("assembling image %s: %w", name, err)
	}
	layer, err := EntryLayer([]Entry{{Name: "pause", Mode: 0o755, Data: data}})
	if err != nil {
		return Image{}, err
	}
	return Image{Name: name, Layers: []Layer{layer}, Config: v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"}}, nil
}

// Busybox is an image of a static busybox under all its names.
func Busybox(ctx context.Context, name, program string) (Image, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return Image{}, fmt.Errorf("assembling image %s: %w", name, err)
	}
	list, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return Image{}, fmt.Errorf("listing the names of busybox: %w", err)
	}
	entries := []Entry{
		{Name: "bin/", Mode: 0o755}, {Name: "etc/", Mode: 0o755}, {Name: "root/", Mode: 0o700},
		{Name: "tmp/", Mode: 0o1777}, {Name: "usr/", Mode: 0o755}, {Name: "var/", Mode: 0o755},
		{Name: "usr/bin", Mode: 0o777, Link: "/bin"}, {Name: "sbin", Mode: 0o777, Link: "/bin"},
		{Name: "etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
		{Name: "etc/group", Mode: 0o644, Data: []byte("root:x:0:\nnogroup:x:65534:\n")},
		{Name: "bin/busybox", Mode: 0o755, Data: data},
	}
	for _, applet := range strings.Fields(string(list)) {
		if applet != "busybox" {
			entries = append(entries, Entry{Name: "bin/" + applet, Mode: 0o777, Link: "/bin/busybox"})
		}
	}
	layer, err := EntryLayer(entries)
	if err != nil {
		return Image{}, err
	}
	return Image{Name: name, Layers: []Layer{layer}, Config: v1.Config{
		Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/bin"},
	}}, nil
}

// Berth is Berth's image: Debian's tools as one layer, the program and links to
// it as another, so that a new build replaces only the second. The links are
// absolute paths. As with deploy/image/Dockerfile, there is no default command.
func Berth(name, root, program string, links []string) (Image, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return Image{}, fmt.Errorf("assembling image %s: %w", name, err)
	}
	layer, err := EntryLayer(berthEntries(data, links))
	if err != nil {
		return Image{}, err
	}
	return Image{Name: name, Layers: []Layer{FileLayer(root), layer}, Config: v1.Config{
		Entrypoint: []string{deploy.Binary},
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}}, nil
}

// berthEntries is the layer with the program, the links to it, and the
// directories of those that lie in one that Debian does not have.
func berthEntries(program []byte, links []string) []Entry {
	entries := []Entry{{Name: deploy.Binary[1:], Mode: 0o755, Data: program}}
	made := map[string]bool{".": true}
	for _, link := range links {
		link = strings.TrimPrefix(link, "/")
		if dir := filepath.Dir(link); !made[dir] {
			made[dir] = true
			entries = append(entries, Entry{Name: dir + "/", Mode: 0o755})
		}
		entries = append(entries, Entry{Name: link, Mode: 0o777, Link: deploy.Binary})
	}
	return entries
}
