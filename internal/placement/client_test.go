package placement

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/berth-storage/berth/api"
)

// TestOverTheWire: what is asked of an API server, and what is sent to it, for a
// claim that the scheduler has placed and one that is to be chosen a node for.
func TestOverTheWire(t *testing.T) {
	meta := metav1.ListMeta{ResourceVersion: "5"}
	lists := map[string]any{
		"/api/v1/persistentvolumeclaims": corev1.PersistentVolumeClaimList{ListMeta: meta,
			Items: []corev1.PersistentVolumeClaim{*claimObject("a", chosen("n1")), *claimObject("b", ofClass("now"))}},
		"/api/v1/nodes": corev1.NodeList{ListMeta: meta, Items: []corev1.Node{*nodeObject("n1", true)}},
		"/apis/storage.k8s.io/v1/storageclasses": storagev1.StorageClassList{ListMeta: meta,
			Items: []storagev1.StorageClass{*classObject("fast", false, ""), *classObject("now", true, "")}},
		"/apis/storage.k8s.io/v1/csistoragecapacities": storagev1.CSIStorageCapacityList{ListMeta: meta,
			Items: []storagev1.CSIStorageCapacity{*roomObject("now", "n1", 9*gi, 9*gi)}},
	}
	patches := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		list, listed := lists[r.URL.Path]
		kind := map[string]string{"persistentvolumeclaims": "PersistentVolumeClaimList", "nodes": "NodeList",
			"storageclasses": "StorageClassList", "csistoragecapacities": "CSIStorageCapacityList"}[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]
		version := "v1"
		if strings.HasPrefix(r.URL.Path, "/apis/") {
			version = "storage.k8s.io/v1"
		}
		if want := map[bool]string{true: api.LabelNode}[kind == "CSIStorageCapacityList"]; listed && q.Get("labelSelector") != want {
			t.Errorf("%s: asked for those with %q", r.URL.Path, q.Get("labelSelector"))
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodPatch:
			body, _ := io.ReadAll(r.Body) // what is missing fails below
			patches <- r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(body)
			_, _ = io.WriteString(w, `{"kind":"PersistentVolumeClaim","apiVersion":"v1"}`) // the client may be gone
		case q.Get("sendInitialEvents") != "": // an older API server
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
		case q.Get("watch") != "":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case listed:
			fields := map[string]any{}
			again(list, &fields)
			fields["kind"], fields["apiVersion"] = kind, version
			_ = json.NewEncoder(w).Encode(fields)
		default:
			t.Errorf("asked for %s %s", r.Method, r.URL.Path)
		}
	}))
	t.Cleanup(server.Close)
	c, err := New(Options{Workers: 2, Log: slog.New(slog.DiscardHandler)}, &rest.Config{Host: server.URL}, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{}, 2)
	go func() { c.Watch(ctx); ended <- struct{}{} }()
	tick, late := time.NewTicker(time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for !c.Synced() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("not synced in 10 s")
		}
	}
	go func() { c.Lead(ctx); ended <- struct{}{} }()
	const annotation, label = `"path":"/metadata/annotations/volume.kubernetes.io~1selected-node"`, `"path":"/metadata/labels"`
	want := map[string]string{
		"/api/v1/namespaces/ns/persistentvolumeclaims/a application/json-patch+json [" +
			`{"op":"test","path":"/metadata/uid","value":"a-uid"},{"op":"test",` + annotation + `,"value":"n1"},` +
			`{"op":"test",` + label + `,"value":null},{"op":"add",` + label + `,"value":{"berth.storage/node":"n1"}}]`: "a",
		"/api/v1/namespaces/ns/persistentvolumeclaims/b application/json-patch+json [" +
			`{"op":"test","path":"/metadata/uid","value":"b-uid"},{"op":"test","path":"/spec/volumeName","value":null},` +
			`{"op":"test",` + annotation + `,"value":null},{"op":"add",` + annotation + `,"value":"n1"},` +
			`{"op":"test",` + label + `,"value":null},{"op":"add",` + label + `,"value":{"berth.storage/node":"n1"}}]`: "b",
	}
	for range 2 {
		select {
		case got := <-patches:
			if want[got] == "" {
				t.Errorf("sent %s", got)
			}
			delete(want, got)
		case <-time.After(10 * time.Second):
			t.Fatal("not placed in 10 s")
		}
	}
	cancel()
	<-ended
	<-ended
}
