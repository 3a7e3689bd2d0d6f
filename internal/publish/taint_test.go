package publish

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// taintedNode has fields of no version of Kubernetes, and numbers that a
// float64 does not hold.
const taintedNode = `{"kind":"Node","apiVersion":"v1","metadata":{"name":"node-1","uid":"n","resourceVersion":"9007199254740993","future":{"a":[1]}},
"spec":{"podCIDR":"10.0.0.0/24","future":9007199254740993,"taints":[
{"key":"start","effect":"NoSchedule","future":true},{"key":"other","value":"v","effect":"NoExecute","future":"x"},{"key":"start","value":"y","effect":"NoExecute"}]},
"status":{"capacity":{"cpu":"2"}}}`

var nodeResource = schema.GroupResource{Resource: "nodes"}

func object(t *testing.T, data string) map[string]any {
	t.Helper()
	var out map[string]any
	in := json.NewDecoder(strings.NewReader(data))
	in.UseNumber()
	if err := in.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// All taints of the key go, and everything else goes back as it came, on the
// condition that nothing has changed.
func TestRemoveTaint(t *testing.T) {
	c, requests := served(t, func(w http.ResponseWriter, r *http.Request) {
		if accept := r.Header.Get("Accept"); accept != "application/json" {
			t.Errorf("%s accepts %s, want only JSON", r.Method, accept)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, taintedNode)
	})
	removed, err := c.RemoveTaint(t.Context(), "start")
	if err != nil || !removed {
		t.Fatalf("got %v, %v", removed, err)
	}
	r := requests()
	if len(r) != 2 || r[0].method != "GET" || r[1].method != "PUT" || r[1].path != "/api/v1/nodes/node-1" || r[1].kind != "application/json" {
		t.Fatalf("requests %+v", r)
	}
	want := object(t, taintedNode)
	spec := want["spec"].(map[string]any)
	spec["taints"] = spec["taints"].([]any)[1:2]
	if got := object(t, string(r[1].body)); !reflect.DeepEqual(got, want) {
		t.Errorf("sent %s\nwant %v", r[1].body, want)
	}
}

func TestRemoveTaintThatIsNotThere(t *testing.T) {
	for _, node := range []string{taintedNode, `{"kind":"Node","apiVersion":"v1","metadata":{"name":"node-1"},"spec":{}}`, `{"kind":"Node","apiVersion":"v1"}`} {
		c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, node)
		})
		if removed, err := c.RemoveTaint(t.Context(), "star"); removed || err != nil {
			t.Errorf("got %v, %v", removed, err)
		}
		only(t, requests(), "GET", "/api/v1/nodes/node-1")
	}
}

func TestRemoveTaintErrors(t *testing.T) {
	c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			refuse(w, apierrors.NewConflict(nodeResource, "node-1", io.EOF))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, taintedNode)
	})
	if removed, err := c.RemoveTaint(t.Context(), "start"); removed || !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "node-1") {
		t.Errorf("got %v, %v, want a conflict that names the node", removed, err)
	}
	c, _ = served(t, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, apierrors.NewForbidden(nodeResource, "node-1", nil))
	})
	if removed, err := c.RemoveTaint(t.Context(), "start"); removed || !apierrors.IsForbidden(err) {
		t.Errorf("got %v, %v, want a refusal", removed, err)
	}
}

// A taint is added beside the others, and everything else goes back as it came.
func TestAddTaint(t *testing.T) {
	for node, taints := range map[string]int{taintedNode: 4, `{"kind":"Node","apiVersion":"v1","metadata":{"name":"node-1"}}`: 1} {
		c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, node)
		})
		added, err := c.AddTaint(t.Context(), "start", "PreferNoSchedule") // its other effects do not stand for it
		if err != nil || !added {
			t.Fatalf("got %v, %v", added, err)
		}
		r := requests()
		if len(r) != 2 || r[1].method != "PUT" || r[1].path != "/api/v1/nodes/node-1" {
			t.Fatalf("requests %+v", r)
		}
		got := object(t, string(r[1].body))
		spec, _ := got["spec"].(map[string]any)
		all, _ := spec["taints"].([]any)
		if len(all) != taints || !reflect.DeepEqual(all[len(all)-1], map[string]any{"key": "start", "effect": "PreferNoSchedule"}) {
			t.Fatalf("taints %v", all)
		}
		want := object(t, node)
		if spec["taints"] = all[:len(all)-1]; want["spec"] == nil {
			delete(got, "spec")
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("sent %s", r[1].body)
		}
	}
	c, requests := served(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, taintedNode)
	})
	if added, err := c.AddTaint(t.Context(), "start", "NoSchedule"); added || err != nil {
		t.Errorf("what is there was added: %v, %v", added, err)
	}
	only(t, requests(), "GET", "/api/v1/nodes/node-1")
}
