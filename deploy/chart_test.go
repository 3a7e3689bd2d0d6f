package deploy

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/berth-storage/berth/deploy/internal/helm"
)

var update = flag.Bool("update", false, "rewrite the golden files from the chart")

// command finds Helm, and builds it on a machine that has none, so that no test
// of the chart is ever skipped.
var command = sync.OnceValues(func() (string, error) {
	root, err := helm.Root(".")
	if err != nil {
		return "", err
	}
	return helm.Find(context.Background(), root, func(line string) { println(line) })
})

func runHelm(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	path, err := command()
	if err != nil {
		t.Fatal(err)
	}
	return helm.Run(t.Context(), path, args...)
}

// render returns what the chart makes of a file of values.
func render(t *testing.T, values string) []byte {
	t.Helper()
	out, err := runHelm(t, "template", "berth", "helm/berth", "--namespace", "berth-system", "--values", values)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// valueFiles returns the files of values that the chart is tried with.
func valueFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding values: %v, %d files", err, len(files))
	}
	return files
}

func TestGolden(t *testing.T) {
	for _, values := range valueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) { checkGolden(t, values, render(t, values)) })
	}
}

// checkGolden compares what was rendered from a file of values with the golden
// file beside it.
func checkGolden(t *testing.T, values string, got []byte) {
	t.Helper()
	golden := strings.TrimSuffix(values, ".values.yaml") + ".golden.yaml"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v; make it with go test ./deploy -update", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the chart renders to: %s\nlook at the difference after go test ./deploy -update",
			golden, firstDifference(want, got))
	}
}

// firstDifference names the first line in which two texts differ.
func firstDifference(want, got []byte) string {
	w, g := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return "committed: " + w[i] + "\n rendered: " + g[i]
		}
	}
	return "one is longer than the other"
}

func TestLint(t *testing.T) {
	for _, values := range valueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			out, err := runHelm(t, "lint", "--strict", "helm/berth", "--values", values)
			if err != nil || bytes.Contains(out, []byte("[WARNING]")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestNotes reads what a person sees after helm install.
func TestNotes(t *testing.T) {
	const command = "label namespace berth-system pod-security.kubernetes.io/enforce=privileged"
	for values, words := range map[string][]string{
		"default": {"/mnt/disks -> local-disks", command},
		"pools":   {"fast -> fast-now", command},
	} {
		out, err := runHelm(t, "install", "berth", "helm/berth", "--namespace", "berth-system", "--dry-run=client", "--values", "testdata/"+values+".values.yaml")
		if err != nil {
			t.Fatal(err)
		}
		_, notes, _ := bytes.Cut(out, []byte("NOTES:"))
		for _, want := range words {
			if !bytes.Contains(notes, []byte(want)) {
				t.Errorf("the notes lack %q:\n%s", want, notes)
			}
		}
	}
}

// TestRefused gives the chart values that it must not accept, and looks for the
// words by which a person finds the mistake.
func TestRefused(t *testing.T) {
	const a, b = "name: a, hostDir: /mnt/a", "name: b, hostDir: /mnt/b"
	tests := []struct {
		name, values string
		want         []string
	}{
		{"misspelt value", "tolerationz: []", []string{"tolerationz"}},
		{"misspelt field of a class", "classes: [{" + a + ", hostdir: /mnt}]", []string{"/classes/0", "hostdir"}},
		{"misspelt field of a StorageClass", "classes: [{" + a + ", storageClass: {reclaim: Delete}}]", []string{"reclaim"}},
		{"class without a directory", "classes: [{name: a}]", []string{"/classes/0", "hostDir"}},
		{"relative directory", "classes: [{name: a, hostDir: mnt/a}]", []string{"/classes/0/hostDir", "pattern"}},
		{"root directory", "classes: [{name: a, hostDir: /}]", []string{"/classes/0/hostDir", "pattern"}},
		{"slash at the end", "classes: [{name: a, hostDir: /mnt/a/}]", []string{"/classes/0/hostDir", "pattern"}},
		{"directory with dots", "classes: [{name: a, hostDir: /mnt/../etc}]", []string{`"a"`, "/mnt/../etc", "written as /etc"}},
		{"name of a class", "classes: [{name: A_B, hostDir: /mnt/a}]", []string{"/classes/0/name"}},
		{"volume mode", "classes: [{" + a + ", volumeMode: block}]", []string{"volumeMode", "'Filesystem', 'Block'"}},
		{"access mode", "classes: [{" + a + ", accessMode: RWO}]", []string{"accessMode", "ReadWriteOnce"}},
		{"reclaim policy", "classes: [{" + a + ", storageClass: {reclaimPolicy: Recycle}}]", []string{"reclaimPolicy", "'Delete', 'Retain'"}},
		{"interval", "rescanInterval: 5 minutes", []string{"rescanInterval"}},
		{"label", "labels: {team: a b}", []string{"/labels/team"}},
		{"log level", "logLevel: verbose", []string{"logLevel", "'debug'"}},
		{"digest", "image: {digest: latest}", []string{"/image/digest"}},
		{"account without a name", "serviceAccount: {create: false}", []string{"serviceAccount", "name"}},
		{"two classes of one name", "classes: [{" + a + "}, {name: a, hostDir: /mnt/b}]", []string{`two classes are named "a"`}},
		{"two default classes", "classes: [{" + a + ", storageClass: {default: true}}, {" + b + ", storageClass: {default: true}}]",
			[]string{`"a" and "b"`, "default StorageClass"}},
		{"same hostDir", "classes: [{" + a + "}, {name: b, hostDir: /mnt/a}]", []string{`hostDir /mnt/a of "b" overlaps`, `of "a"`}},
		{"hostDir in another", "classes: [{name: b, hostDir: /mnt/a/b}, {" + a + "}]", []string{`hostDir /mnt/a of "a" overlaps hostDir /mnt/a/b of "b"`}},
		{"same mountDir", "classes: [{" + a + "}, {" + b + ", mountDir: /mnt/a}]", []string{`mountDir /mnt/a of "b" overlaps hostDir /mnt/a of "a"`}},
		{"read-only device", "classes: [{" + a + ", volumeMode: Block, readOnly: true}]", []string{`"a"`, "readOnly", "Filesystem"}},
		{"writable read-only class", "classes: [{" + a + ", accessMode: ReadWriteOnce, readOnly: true}]", []string{`"a"`, "ReadOnlyMany"}},
		{"filesystem of a device", "classes: [{" + a + ", volumeMode: Block, fsType: xfs}]", []string{`"a"`, "fsType"}},
		{"shared device", "classes: [{" + a + ", volumeMode: Block, shared: true}]", []string{`"a"`, "shared", "Filesystem"}},
		{"filesystem that no kubelet makes", "classes: [{" + a + ", fsType: zfs}]", []string{"/classes/0/fsType", "'xfs'"}},
		{"the agent's own state", "classes: [{name: a, hostDir: /var/lib}]", []string{"hostDir /var/lib overlaps", "/var/lib/berth"}},
		{"the kubelet's mounts", "classes: [{name: a, hostDir: /mnt/a, mountDir: /var/lib/kubelet/pods}]", []string{"mountDir", "/var/lib/kubelet"}},
		{"a directory shared by name and not", "classes: [{" + a + ", namePattern: 'a*'}, {name: b, hostDir: /mnt/a}]", []string{"hostDir /mnt/a of \"b\" overlaps"}},
		{"a name like that of devices", "classes: [{name: a, hostDir: /dev/mapperx}]", []string{"hostDir /dev/mapperx overlaps"}},
		{"all links to devices", "classes: [{name: a, hostDir: /dev/disk}]", []string{"hostDir /dev/disk overlaps"}},
		{"all devices", "classes: [{name: a, hostDir: /dev}]", []string{"hostDir /dev overlaps"}},
		{"pattern with a slash", "classes: [{" + a + ", namePattern: disks/*}]", []string{"/classes/0/namePattern"}},
		{"no class", "classes: []", []string{"classes, pools", "both are empty"}},
		{"interval too short", "rescanInterval: 5s", []string{"rescanInterval"}},
		{"wipe method", "classes: [{" + a + ", wipe: {method: shred}}]", []string{"/classes/0/wipe/method", "'Shred'"}},
		{"passes of a method without", "classes: [{" + a + ", wipe: {passes: 2}}]", []string{`"a"`, "wipe.passes", "Zero and Shred"}},
		{"no passes", "classes: [{" + a + ", wipe: {method: Zero, passes: 0}}]", []string{"/classes/0/wipe/passes"}},
		{"method Command without one", "classes: [{" + a + ", wipe: {method: Command}}]", []string{`"a"`, "needs wipe.command"}},
		{"command of another method", "classes: [{" + a + ", wipe: {command: [/bin/erase]}}]", []string{`"a"`, "wipe.command", "Erase"}},
		{"relative command", "classes: [{" + a + ", wipe: {method: Command, command: [bin/erase]}}]", []string{"/classes/0/wipe/command/0"}},
		{"timeout that bounds nothing", "classes: [{" + a + ", wipe: {method: Zero, timeout: 1h}}]", []string{`"a"`, "wipe.timeout"}},
		{"timeout without a unit", "classes: [{" + a + ", wipe: {job: true, timeout: \"60\"}}]", []string{"/classes/0/wipe/timeout"}},
		{"verify of a Job", "classes: [{" + a + ", wipe: {verify: Full, job: true}}]", []string{`"a"`, "wipe.verify"}},
		{"verify of signatures", "classes: [{" + a + ", wipe: {verify: Full, method: Signatures}}]", []string{`"a"`, "wipe.verify"}},
		{"verify with another word", "classes: [{" + a + ", wipe: {verify: full}}]", []string{"/classes/0/wipe/verify", "'Full'"}},
		{"rate of a Job", "classes: [{" + a + ", wipe: {bytesPerSecond: 1Gi, job: true}}]", []string{`"a"`, "wipe.bytesPerSecond"}},
		{"rate with a fraction", "classes: [{" + a + ", wipe: {bytesPerSecond: 1.5Gi}}]", []string{"/classes/0/wipe/bytesPerSecond"}},
		{"operator of a selector", "classes: [{" + a + ", selector: [{matchExpressions: [{key: a, operator: Equals}]}]}]", []string{"/classes/0/selector/0", "'In'"}},
		{"unknown policy for disks that are gone", "classes: [{" + a + ", whenGone: DeletePV}]", []string{"/classes/0/whenGone", "'TaintNode'"}},
		{"taint with an effect", "startupTaint: 'a=b:NoSchedule'", []string{"/startupTaint"}},
		{"operator of a toleration", "jobTolerations: [{key: a, operator: Lt}]", []string{"/jobTolerations/0/operator"}},
		{"another chart's compatibility", "compatibility: yes-please", []string{"/compatibility", "'static-provisioner'"}},
		{"field of the controller", "controller: {enable: true}", []string{"/controller", "enable"}},
		{"delay of the controller", "controller: {pvcDeletionDelay: 60}", []string{"/controller/pvcDeletionDelay"}},
		{"label of Berth's own", "labels: {berth.storage/node: x}", []string{"berth.storage/node", "Berth's own"}},
		{"node label of Berth's own", "nodeLabels: [berth.storage/node]", []string{"berth.storage/node", "Berth's own"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { checkRefused(t, test.values, test.want...) })
	}
	// A chart that is broken altogether would refuse everything above, too.
	if _, err := runHelm(t, "template", "berth", "helm/berth"); err != nil {
		t.Error(errors.Unwrap(err))
	}
}

// checkRefused gives the chart values that it must not accept, and looks for
// words in what it says.
func checkRefused(t *testing.T, text string, words ...string) {
	t.Helper()
	values := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(values, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := runHelm(t, "template", "berth", "helm/berth", "--values", values)
	if err == nil {
		t.Fatalf("accepted %s", text)
	}
	for _, want := range words {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal lacks %q: %v", want, err)
		}
	}
}
