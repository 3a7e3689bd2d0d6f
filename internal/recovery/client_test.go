package recovery

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// server answers each request with respond and keeps the last one: method and
// path, and the body in JSON.
func server(t *testing.T, respond func(http.ResponseWriter)) (c *client, last *[2]string) {
	t.Helper()
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	decoder := serializer.NewCodecFactory(scheme).UniversalDeserializer()
	last = new([2]string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if len(body) > 0 && body[0] != '{' {
			obj, _, err := decoder.Decode(body, nil, nil)
			if err == nil {
				body, err = json.Marshal(obj)
			}
			if err != nil {
				t.Error(err)
			}
		}
		*last = [2]string{r.Method + " " + r.URL.RequestURI(), string(body)}
		respond(w)
	}))
	t.Cleanup(s.Close)
	c, err := newClient(&rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c, last
}

func status(code int, reason metav1.StatusReason, kind string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
			Status: "Failure", Reason: reason, Code: int32(code), Details: &metav1.StatusDetails{Kind: kind}}) // the client may be gone
	}
}

var pv7 = Volume{Name: "pv1", UID: "u1", ResourceVersion: "7"}

// Whatever changes or deletes something says which object is meant, by UID, and a
// PV also in which form.
func TestPreconditions(t *testing.T) {
	ok := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`) // the client may be gone
	}
	since := "2026-01-01T00:00:00Z"
	for _, call := range []struct {
		do   func(context.Context, *client) error
		line string
		body []string
	}{
		{func(ctx context.Context, c *client) error { return c.DeleteClaim(ctx, Claim{"ns", "c1", "cu"}) },
			"DELETE /api/v1/namespaces/ns/persistentvolumeclaims/c1", []string{`"preconditions":{"uid":"cu"}`}},
		{func(ctx context.Context, c *client) error { return c.DeletePV(ctx, pv7) },
			"DELETE /api/v1/persistentvolumes/pv1", []string{`"preconditions":{"uid":"u1","resourceVersion":"7"}`}},
		{func(ctx context.Context, c *client) error { return c.LetGo(ctx, pv7) },
			"PATCH /api/v1/persistentvolumes/pv1", []string{`"uid":"u1"`, `"resourceVersion":"7"`, `"$deleteFromPrimitiveList/finalizers":["berth.storage/volume"]`}},
		{func(ctx context.Context, c *client) error {
			return c.Annotate(ctx, pv7, map[string]*string{"a": &since, "b": nil})
		}, "PATCH /api/v1/persistentvolumes/pv1", []string{`"uid":"u1"`, `"resourceVersion":"7"`, `"annotations":{"a":"2026-01-01T00:00:00Z","b":null}`}},
	} {
		c, last := server(t, ok)
		if err := call.do(t.Context(), c); err != nil {
			t.Errorf("%s: %v", call.line, err)
		}
		if last[0] != call.line {
			t.Errorf("asked %s, want %s", last[0], call.line)
		}
		for _, part := range call.body {
			if !strings.Contains(last[1], part) {
				t.Errorf("%s: body %s lacks %s", call.line, last[1], part)
			}
		}
		c, _ = server(t, status(404, metav1.StatusReasonNotFound, "x"))
		if err := call.do(t.Context(), c); err != nil {
			t.Errorf("%s of what is gone: %v", call.line, err)
		}
		c, _ = server(t, status(409, metav1.StatusReasonConflict, "x"))
		if err := call.do(t.Context(), c); err == nil {
			t.Errorf("%s: a conflict is no error", call.line)
		}
	}
}

// Only the answer "not found" says that something is not there.
func TestAbsence(t *testing.T) {
	look := func(c *client) (present [4]bool, errs int) {
		node, err1 := c.NodeNamed(t.Context(), "n1")
		lease, err2 := c.Lease(t.Context(), leaseNamespace, "n1")
		claim, err3 := c.Claim(t.Context(), "ns", "c1")
		name, err4 := c.NodeWithHostname(t.Context(), "h1")
		for _, err := range []error{err1, err2, err3, err4} {
			if err != nil {
				errs++
			}
		}
		return [4]bool{node, lease != nil, claim != nil, name != ""}, errs
	}
	c, _ := server(t, status(404, metav1.StatusReasonNotFound, "x"))
	if present, errs := look(c); present != [4]bool{} || errs != 1 { // a list that is not found is no empty list
		t.Errorf("not found: %v, %d errors", present, errs)
	}
	for _, code := range []int{403, 500, 503, 400} {
		c, _ := server(t, status(code, metav1.StatusReasonUnknown, "x"))
		if present, errs := look(c); errs != 4 {
			t.Errorf("%d: %v, %d errors", code, present, errs)
		}
	}
	c, last := server(t, func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(corev1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"},
			Items: []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}}}) // the client may be gone
	})
	if name, err := c.NodeWithHostname(t.Context(), "h1"); name != "n1" || err != nil || !strings.Contains(last[0], "labelSelector=kubernetes.io%2Fhostname%3Dh1") {
		t.Errorf("%q, %v, asked %s", name, err, last[0])
	}
}

func TestForbiddenLease(t *testing.T) {
	c, _ := server(t, status(403, metav1.StatusReasonForbidden, "leases"))
	if _, err := c.Lease(t.Context(), leaseNamespace, "n1"); !isLease(err) {
		t.Errorf("not known for a Lease: %v", err)
	}
	c, _ = server(t, status(403, metav1.StatusReasonForbidden, "nodes"))
	if _, err := c.NodeNamed(t.Context(), "n1"); err == nil || isLease(err) {
		t.Errorf("known for a Lease: %v", err)
	}
}

// A kubelet is known by its certificate, which httptest's server has for
// example.com.
func TestKubeletAnswer(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // that a client goes after the handshake
	s.StartTLS()
	defer s.Close()
	address := s.Listener.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if !kubeletAnswers(ctx, address, []string{"n1", "example.com"}) {
		t.Error("the node's kubelet does not answer")
	}
	if kubeletAnswers(ctx, address, []string{"n1"}) {
		t.Error("another machine at that address is taken for the node")
	}
	s.Close()
	for _, at := range []string{address, "", "localhost:10250", "10.0.0.1"} {
		if kubeletAnswers(ctx, at, []string{"example.com"}) {
			t.Errorf("somebody answers at %q", at)
		}
	}
}
